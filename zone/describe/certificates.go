package describe

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Certificate is one sort of certificate, field by field. (证书种类)
type Certificate struct {
	Name     string             `json:"name"`
	Title    string             `json:"title"`
	Version  int                `json:"version"`
	Class    string             `json:"class"` // 系统证书 or 用户证书
	Dual     bool               `json:"dual"`
	Subject  []profile.AttrRule `json:"subject"`
	Days     profile.Days       `json:"days"`
	Identity []string           `json:"identity,omitempty"`
	Fields   []Field            `json:"fields"`
}

// Field is a field or an extension as the CA would write it.
type Field struct {
	Use      string `json:"use"` // sign or enc
	Name     string `json:"name"`
	Critical bool   `json:"critical"`
	Value    string `json:"value"`
}

// certificates drafts one of each profile and reads it back: what is listed is
// what would be signed.
func certificates(set profile.Set) ([]Certificate, error) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	point := alg.Point(&key.PublicKey)
	issuer := &cert.Certificate{Subject: dn.Name{C: "CN", O: "（机构）", CN: "（签发 CA）"}.Bytes(), Point: point}
	var list []Certificate
	for _, name := range slices.Sorted(maps.Keys(set)) {
		p := set[name]
		c := Certificate{Name: p.Name, Title: p.Title, Version: p.Version, Class: "用户证书", Dual: p.Dual, Subject: p.Subject, Days: p.Days, Identity: p.Identity}
		if p.Audience == "system" {
			c.Class = "系统证书"
		}
		uses := []profile.Use{profile.Sign}
		if p.Dual {
			uses = append(uses, profile.Enc)
		}
		for _, use := range uses {
			fields, err := fieldsOf(p, use, issuer, point)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			c.Fields = append(c.Fields, fields...)
		}
		list = append(list, c)
	}
	return list, nil
}

// place is a sample address; the real one is fixed when the CA is made.
const place = "http://（公开地址）"

func fieldsOf(p profile.Profile, use profile.Use, issuer *cert.Certificate, point []byte) ([]Field, error) {
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := profile.Wish{Serial: []byte{0x40, 1}, NotBefore: day, NotAfter: day.AddDate(0, 0, p.Days.Default), Subject: dn.Name{C: "CN", CN: "（名称）"}.Bytes(), Point: point}
	c, err := cert.ParseTBS(p.Draft(use, w, issuer, ca.Place(place, 0)))
	if err != nil {
		return nil, err
	}
	list := []Field{
		{string(use), "版本", false, "v3"},
		{string(use), "序列号", false, "16 字节，127 位随机，不重复"},
		{string(use), "签名算法", false, "SM2 with SM3（" + alg.SM2WithSM3.String() + "）"},
		{string(use), "公钥算法", false, "id-ecPublicKey，曲线 SM2（" + alg.SM2.String() + "）"},
	}
	for _, e := range c.Extensions {
		list = append(list, Field{string(use), cert.ExtensionName(e.ID), e.Critical, text(e)})
	}
	return list, nil
}

// text hides what differs in every certificate.
func text(e cert.Extension) string {
	switch cert.ExtensionName(e.ID) {
	case cert.ExtensionName(cert.SubjectKeyID), cert.ExtensionName(cert.AuthorityKeyID):
		return "公钥的 SHA-1（RFC 5280 §4.2.1.2 方法一）"
	}
	return strings.ReplaceAll(cert.ExtensionText(e), "\n", "；")
}

func (c Certificate) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s（%s 第 %d 版，%s）\n\n默认 %d 天，最长 %d 天。", c.Title, c.Name, c.Version, c.Class, c.Days.Default, c.Days.Max)
	var parts []string
	for _, a := range c.Subject {
		part := a.Type + " " + a.Title
		if a.Required {
			part += "（必有）"
		}
		parts = append(parts, part)
	}
	fmt.Fprintf(b, "主体：%s。\n\n| 证书 | 字段 | 关键 | 内容 |\n|---|---|---|---|\n", strings.Join(parts, "、"))
	for _, f := range c.Fields {
		use, critical := "签名", ""
		if f.Use == string(profile.Enc) {
			use = "加密"
		}
		if f.Critical {
			critical = "是"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", use, f.Name, critical, f.Value)
	}
}
