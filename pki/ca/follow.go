package ca

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// agreed checks the people's signatures an application needs: two, and for a
// recovered key a third (GM/T 0034 §12.4).
func (is *Issuer) agreed(ctx context.Context, r enroll.Request, a enroll.Application) error {
	t, err := is.tree(ctx)
	if err != nil {
		return err
	}
	if a.For != enroll.Recover {
		return is.reviewed(ctx, t, r, a)
	}
	if err := is.twoPeople(ctx, RecoverKind, r, "ra.submit", "ra.approve"); err != nil {
		return err
	}
	if err := is.taken(t, RecoverKind, r, a); err != nil {
		return err
	}
	third, err := is.signer(ctx, RecoverKind, r, "ra.authorise")
	if err != nil {
		return err
	}
	if !third.Holds(access.RAAdmin) {
		return NoEvidence.At("evidence", NoEvidence.Clause).Because("密钥恢复未经注册业务管理员批准")
	}
	return nil
}

// follow finds the certificate an application goes on from and checks that it
// may: the same holder, the same profile, still good, and the right key.
func (is *Issuer) follow(ctx context.Context, j *job) error {
	a := j.app
	if a.For == "" && a.Replaces == "" {
		return nil
	}
	if !slices.Contains([]string{enroll.Renew, enroll.Extend, enroll.Amend, enroll.Reissue, enroll.Recover}, a.For) {
		return BadContent.At("for", BadContent.Clause).Because("%.40q", a.For)
	}
	serial, err := hex.DecodeString(strings.ToLower(a.Replaces))
	if err != nil {
		return NoCert.At("replaces", NoCert.Clause)
	}
	old, err := is.Store.Certificate(ctx, serial)
	if err != nil {
		return err
	}
	c, err := cert.Parse(old.DER)
	if err != nil {
		return err
	}
	same := bytes.Equal(c.Point, j.point)
	switch {
	case old.Use != "sign" || old.Profile != j.profile.Name:
		return NotFollowed.At("replaces", NotFollowed.Clause).Because("不是模板“%s”的签名证书", j.profile.Title)
	case old.Revoked && old.Reason == hold && a.For != enroll.Reissue:
		return Held.At("replaces", Held.Clause).ToFix("请先解冻再办，或撤销后重新申请")
	case old.Revoked && a.For != enroll.Reissue:
		return Revoked.At("replaces", Revoked.Clause)
	case a.For != enroll.Amend && !bytes.Equal(c.Subject, j.subject):
		return NotFollowed.At("subject", NotFollowed.Clause).Because("主体与原证书不同")
	case a.For == enroll.Extend && !same:
		return NotFollowed.At("csr", NotFollowed.Clause).Because("延期沿用原签名密钥，请求的公钥与原证书不同")
	case a.For != enroll.Extend && same:
		return NotFollowed.At("csr", NotFollowed.Clause).Because("应使用新的签名密钥")
	case a.For == enroll.Recover && !j.profile.Dual:
		return NotFollowed.At("replaces", NotFollowed.Clause).Because("单证书没有托管的密钥")
	}
	j.Follows, j.KeepsKey = old.Request, a.For == enroll.Extend
	if a.For == enroll.Recover {
		enc, err := is.Store.Certificate(ctx, old.Pair)
		if err != nil {
			return err
		}
		if enc.Revoked {
			return NotFollowed.At("replaces", NotFollowed.Clause).Because("加密证书已撤销或冻结，其密钥不能由用户恢复")
		}
		j.Escrow = old.Pair
	}
	return nil
}

// matches proves that the key centre gave back the key of the very certificate.
func (is *Issuer) matches(ctx context.Context, j *job) error {
	enc, err := is.Store.Certificate(ctx, j.Escrow)
	if err != nil {
		return err
	}
	c, err := cert.Parse(enc.DER)
	if err != nil {
		return err
	}
	if !bytes.Equal(c.Point, j.encKey) {
		return fmt.Errorf("key centre gave back a key that is not of certificate %s", c.SerialHex())
	}
	return nil
}

// settle ends the certificates that recorded ones replace, and completes the
// answer of a recovery with the encryption certificate that stays. Each is done
// once, however often a request is asked again.
func (w *work) settle(ctx context.Context) error {
	for i, j := range w.jobs {
		if j == nil || w.results[i].Err != nil || j.State != Recorded || j.Follows == "" {
			continue
		}
		if err := w.is.settle(ctx, j); err != nil {
			return fmt.Errorf("ending what %s replaces: %w", j.ID, err)
		}
	}
	return nil
}

func (is *Issuer) settle(ctx context.Context, j *job) error {
	if j.Escrow != nil {
		enc, err := is.Store.Certificate(ctx, j.Escrow)
		if err != nil {
			return err
		}
		j.DER.Enc = enc.DER
	}
	request := j.ID + "/old"
	if _, ok, err := is.Store.Revocation(ctx, request); err != nil || ok {
		return err
	}
	serial, err := hex.DecodeString(strings.ToLower(j.app.Replaces))
	if err != nil {
		return err
	}
	_, err = is.change(ctx, request, serial, change{revoked: true, reason: superseded, alone: j.Escrow != nil})
	if errors.Is(err, Revoked) {
		return nil // it had ended before: a lost carrier
	}
	return err
}
