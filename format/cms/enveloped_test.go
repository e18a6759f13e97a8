package cms_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/emmansun/gmsm/pkcs7"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/sealedkey"
)

// The signature can be left out without opening anything; gmsm reads the rest.
func TestAnEnvelopeLosesItsSignatureByReEncodingAlone(t *testing.T) {
	e, owner, point, signer := sealed(t)
	e.Recipient = cms.RefOf(signer) // any certificate: gmsm looks its key up by name
	der := e.Unsigned()
	got, err := cms.ParseUnsigned(der)
	if err != nil || !bytes.Equal(got.SessionKey, e.SessionKey) || !bytes.Equal(got.Content, e.Content) || got.Signature != nil {
		t.Fatalf("%+v %v", got, err)
	}
	if !bytes.Equal(got.Unsigned(), der) {
		t.Error("written again it differs")
	}
	key, err := sealedkey.FromEnveloped(got.SessionKey, got.Content, point)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Open(owner); err != nil {
		t.Errorf("as SM2EnvelopedKey: %v", err)
	}
	if _, err := cms.Parse(der); !errors.Is(err, cms.ErrSyntax) {
		t.Errorf("it passes for signed: %v", err)
	}
	if _, err := pkcs7.Parse(der); err != nil {
		t.Errorf("gmsm: %v", err)
	}
}

// Blocks that were chained come apart only by decrypting them.
func TestAChainedEnvelopeCannotBeReEncoded(t *testing.T) {
	if _, err := cms.ParseUnsigned(pemFile(t, "gmssl-env.cms")); !errors.Is(err, cms.ErrChained) {
		t.Errorf("GmSSL's: %v", err)
	}
	e, _, _, _ := sealed(t)
	e.Cipher = alg.SM4CBC
	if _, err := cms.Parse(e.Bytes()); !errors.Is(err, cms.ErrChained) || !errors.Is(err, cms.ErrSyntax) {
		t.Errorf("signed: %v", err)
	}
}

// The recipient is named anew without touching what is signed.
func TestARecipientIsNamedAnew(t *testing.T) {
	e, owner, _, signer := sealed(t)
	e.Recipient = cms.RefOf(&cert.Certificate{Issuer: signer.Subject, Serial: signer.Serial})
	got, err := cms.Parse(cms.Wrap(e.Bytes()))
	if err != nil || !bytes.Equal(got.Recipient.Issuer, signer.Subject) {
		t.Fatalf("%+v %v", got.Recipient, err)
	}
	if _, err := got.Open(owner, signer.PublicKey()); err != nil {
		t.Error(err)
	}
}

func FuzzParseUnsigned(f *testing.F) {
	e, _, _, _ := sealed(f)
	f.Add(e.Unsigned())
	f.Add(pemFile(f, "gmssl-env.cms"))
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := cms.ParseUnsigned(der)
		if err != nil {
			return
		}
		if _, err := cms.ParseUnsigned(got.Unsigned()); err != nil {
			t.Errorf("written again it is refused: %v", err)
		}
	})
}
