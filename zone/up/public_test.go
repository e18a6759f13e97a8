package up

import (
	"errors"
	"testing"
)

func TestThePublicURLIsOneThatCertificatesCanName(t *testing.T) {
	for text, want := range map[string]string{
		"http://pki.example.cn": "http://pki.example.cn", "http://pki.example.cn/": "http://pki.example.cn", "https://h:8443/ca/": "https://h:8443/ca",
		"http://[2001:db8::1]:80": "http://[2001:db8::1]:80",
	} {
		if got, err := publicURL(text); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "foo", "javascript:x", "ftp://x y", "ftp://x", "http://", "http:///path", "http://h/path?q#f", "http://h/?", "http://h/#", "http://a\nb", "http://中文.cn", "http://u:p@h", "http://0.0.0.0:80", "http://h:port", "http://h/<x>",
	} {
		if got, err := publicURL(text); !errors.Is(err, ErrAddress) {
			t.Errorf("%q was taken as %q: %v", text, got, err)
		}
	}
}
