package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/format/envelope"
	"github.com/hufu-pki/hufu/zone/desk"
)

type envelopeCmd struct {
	File     string `arg:"" help:"密钥信封（DER、ENVELOPEDKEYBLOB，或它们的 PEM、Base64、十六进制）。"`
	Key      string `help:"持有人的签名私钥；给出时试着打开。"`
	PassFile string `name:"pass-file" help:"签名私钥的口令文件。"`
	Cert     string `help:"加密证书（PEM）；给出时核对公钥。"`
	JSON     bool   `help:"输出 JSON。"`
}

func (c *envelopeCmd) Run() error {
	info, err := os.Stat(c.File)
	if err != nil {
		return desk.Unreadable(err)
	}
	if info.IsDir() || info.Size() > 2*envelope.SizeMax {
		return &desk.Usage{Text: c.File + " 是目录，或大得不是密钥信封"}
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return desk.Unreadable(err)
	}
	var enc []byte
	if c.Cert != "" {
		k, err := readCert(c.Cert)
		if err != nil {
			return err
		}
		enc = k.Point
	}
	r := envelope.Inspect(data)
	if c.Key != "" {
		key, err := readKey(c.Key, c.PassFile)
		if err != nil {
			return err
		}
		r.Open(key, enc)
	} else if enc != nil {
		r.Compare(enc)
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		showEnvelope(r)
	}
	return r.Err()
}

// showEnvelope prints a report for people.
func showEnvelope(r envelope.Report) {
	fmt.Printf("格式：%s\n", r.Title)
	fmt.Printf("编码：%s，%d 字节\n", r.Encoding, r.Size)
	for _, p := range r.Parts {
		fmt.Printf("%s：%s\n", p.Name, p.Value)
	}
	for _, f := range r.Findings {
		title := "偏差"
		if f.Level == envelope.Note {
			title = "提示"
		}
		fmt.Printf("%s：%s：%s", title, f.At, f.Text)
		if f.Clause != "" {
			fmt.Printf("（%s）", f.Clause)
		}
		fmt.Println()
	}
	if o := r.Opened; o != nil && o.Opens {
		fmt.Printf("打开：可以%s%s%s\n", said("，与信封内公钥成对", o.Point), said("，与加密证书成对", o.Certificate), said("，签名与内容相符", o.Signature))
	}
	if len(r.Findings) == 0 {
		fmt.Println("没有发现偏差")
	}
}

// said is a sentence that was found true.
func said(text string, ok *bool) string {
	if ok == nil || !*ok {
		return ""
	}
	return text
}
