// Package desk is a person's side of the command line: their key, the
// statements they sign, the calls they make. (办理端)
package desk

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/web/api"
)

// Refused is a refusal by the other side, as one line of JSON.
type Refused struct{ Report refusal.Report }

func (r *Refused) Error() string { return r.Report.Text }

// Usage is a command that was not understood.
type Usage struct{ Text string }

func (u *Usage) Error() string { return u.Text }

// Unreadable says which file a command could not read, and why.
func Unreadable(err error) error {
	var at *fs.PathError
	switch {
	case !errors.As(err, &at):
		return &Usage{Text: err.Error()}
	case errors.Is(err, fs.ErrNotExist):
		return &Usage{Text: "没有文件 " + at.Path}
	case errors.Is(err, fs.ErrPermission):
		return &Usage{Text: "无权读取 " + at.Path}
	case errors.Is(err, syscall.EISDIR):
		return &Usage{Text: at.Path + " 是目录，不是文件"}
	case refusal.Plain(err) != "":
		return &Usage{Text: fmt.Sprintf("不能读取 %s：%s", at.Path, refusal.Plain(err))}
	}
	return &Usage{Text: fmt.Sprintf("不能读取 %s：%v", at.Path, at.Err)}
}

// Endpoints is endpoints.json.
type Endpoints struct {
	Console   string `json:"console"`
	RA        string `json:"ra"`
	CAConsole string `json:"ca_console"`
	KMConsole string `json:"km_console"`
	OCSP      string `json:"ocsp"`
	CRL       string `json:"crl"`
	LDAP      string `json:"ldap"`
	AIA       string `json:"aia"`
	Tiles     string `json:"tiles"`
	Metrics   string `json:"metrics"`
	People    string `json:"people"`
}

// Read reads endpoints.json of a folder.
func (e *Endpoints) Read(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return refusal.Said(err, "hufu up 没有在 %s 上运行；请先启动，或用 --dir 指明数据目录", dir)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, e)
}

// Person is somebody with a key in hand.
type Person struct {
	Name string
	Key  crypto.Signer
	Cert []byte // DER
	URL  string // of the system they talk to
	HTTP *http.Client

	token string
}

// nameMax bounds a person's name on the command line.
const nameMax = 64

// Open reads a person's key from the folder of people.
func Open(people, name string) (*Person, error) {
	if name == "" || len(name) > nameMax || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return nil, &Usage{Text: fmt.Sprintf("人员名 %q 无效", name)}
	}
	at := filepath.Join(people, name)
	der, err := os.ReadFile(filepath.Join(at, "cert.pem"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &Usage{Text: fmt.Sprintf("没有人员 %s（见 %s）", name, people)}
	}
	if err != nil {
		return nil, err
	}
	c, err := cert.FromPEM(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	text, err := os.ReadFile(filepath.Join(at, "key.pem"))
	if err != nil {
		return nil, err
	}
	pass, err := os.ReadFile(filepath.Join(at, "pass"))
	if err != nil {
		return nil, err
	}
	key, err := keyfile.Read(text, bytes.TrimRight(pass, "\r\n"))
	if err != nil {
		return nil, fmt.Errorf("%s 的私钥: %w", name, err)
	}
	return &Person{Name: name, Key: key, Cert: c.Raw, HTTP: client()}, nil
}

// answerMax bounds an answer read into memory: an audit export is the largest.
const answerMax = 1 << 30

// Call makes one call; in is JSON unless it is raw bytes.
func (p *Person) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/octet-stream"
	default:
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	ctx, done := p.watched(ctx)
	defer done()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.URL, "/")+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.HTTP.Do(req)
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("%s %w", p.URL, errSilent)
	}
	if err != nil {
		if text := refusal.Plain(err); text != "" {
			return refusal.Said(err, "无法连接 %s：%s", p.URL, text)
		}
		return fmt.Errorf("无法连接 %s：%w", p.URL, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("%s %w", p.URL, errSilent)
	}
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var r refusal.Report
		if json.Unmarshal(data, &r) != nil || r.Code == "" || resp.StatusCode >= 500 {
			return fmt.Errorf("%s: %s %s", path, resp.Status, r.Text)
		}
		return &Refused{r}
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = data
		return nil
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, out)
}

// SignIn proves who is calling; later calls carry the session.
func (p *Person) SignIn(ctx context.Context) error {
	var st api.Prepared
	if err := p.Call(ctx, http.MethodPost, "/api/v1/session/prepare", map[string][]byte{"cert": p.Cert}, &st); err != nil {
		return err
	}
	claim, err := p.Claim(st)
	if err != nil {
		return err
	}
	var me api.Me
	if err := p.Call(ctx, http.MethodPost, "/api/v1/session", claim, &me); err != nil {
		return err
	}
	p.token = me.Token
	return nil
}

// SignOut ends the session; a call that fails leaves it to run out.
func (p *Person) SignOut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, byeMax)
	defer cancel()
	_ = p.Call(ctx, http.MethodDelete, "/api/v1/session", nil, nil) // it runs out by itself
}

// Claim signs a statement. The key never leaves this side.
func (p *Person) Claim(st api.Prepared) (access.Claim, error) {
	sig, err := alg.Sign(p.Key, []byte(st.Text))
	return access.Claim{Cert: p.Cert, At: st.At, Nonce: st.Nonce, Signature: sig}, err
}

func query(path string, pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
