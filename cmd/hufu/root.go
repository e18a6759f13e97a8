package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/offline"
	"github.com/hufu-pki/hufu/zone/plant"
)

type rootCmd struct {
	Init    rootInitCmd    `cmd:"" help:"建立离线根：密钥、份额、根证书、ARL、纪要。"`
	Import  rootImportCmd  `cmd:"" help:"收入下级 CA 的证书请求，核对并编号（不用密钥）。"`
	Sign    rootSignCmd    `cmd:"" help:"份额持有人到场，签发已收入的请求。"`
	Revoke  rootRevokeCmd  `cmd:"" help:"份额持有人到场，撤销下级 CA 证书并签发 ARL。"`
	ARL     rootARLCmd     `cmd:"" name:"arl" help:"份额持有人到场，更新 ARL。"`
	Minutes rootMinutesCmd `cmd:"" help:"打印纪要，并核对根的签名。"`
}

type rootDir struct {
	Dir string `required:"" help:"离线根的目录（在不联网的机器上）。"`
}

func (d rootDir) folder() offline.Folder { return offline.Folder{Dir: d.Dir, Now: now} }

// held says that somebody else has the folder open as the contract has it.
func held(err error) error {
	if errors.Is(err, plant.ErrBusy) {
		return fmt.Errorf("%w: %w", errExit1, err)
	}
	return err
}

type rootInitCmd struct {
	rootDir
	Subject   string   `required:"" help:"根的主体，如 /C=CN/O=某某机构/CN=某某根 CA。"`
	Public    string   `required:"" help:"ARL 与根证书的公布网址，写入所签证书，如 http://pki.example.cn。"`
	Threshold int      `required:"" help:"开启根密钥所需的人数。"`
	Custodian []string `required:"" sep:"none" help:"份额持有人的证书（PEM），可多次。"`
}

func (c *rootInitCmd) Run(ctx context.Context) error {
	n, err := subject(c.Subject)
	if err != nil {
		return &desk.Usage{Text: err.Error()}
	}
	p := offline.Plan{Subject: n, Public: c.Public, Threshold: c.Threshold}
	for _, name := range c.Custodian {
		k, err := readCert(name)
		if err != nil {
			return err
		}
		p.Custodians = append(p.Custodians, k)
	}
	root, err := c.folder().Init(ctx, p)
	if err != nil {
		return held(err)
	}
	fmt.Printf("根证书 %s，序列号 %s\n", filepath.Join(c.Dir, "out", "root.pem"), root.SerialHex())
	return nil
}

type rootImportCmd struct {
	rootDir
	Request   string   `arg:"" help:"证书请求（PKCS#10）。"`
	PathLen   int      `name:"path-len" help:"路径长度。" default:"0"`
	Days      int      `help:"有效期（天）。" default:"3650"`
	Policy    []string `required:"" help:"许可的证书策略，可多次。"`
	Permitted []string `sep:"none" help:"许可的名称，如 dns:gov.cn、dn:C=CN,O=某某局，可多次。"`
	JSON      bool     `help:"输出 JSON。"`
}

func (c *rootImportCmd) Run(ctx context.Context) error {
	data, err := os.ReadFile(c.Request)
	if err != nil {
		return desk.Unreadable(err)
	}
	r, err := c.folder().Import(ctx, data, ca.AuthorityOrder{Days: c.Days, PathLen: c.PathLen, Policies: c.Policy, Permitted: c.Permitted})
	if err != nil || c.JSON {
		return errors.Join(held(err), jsonUnless(err, r))
	}
	fmt.Printf("编号 %s\n主体 %s\n公钥标识 %s（请与申请方核对）\n", r.ID, r.Name, r.KeyID)
	return nil
}

// present are the custodians who came, each with the folder of their key.
type present struct {
	Holder []string `required:"" sep:"none" help:"到场的份额持有人的目录（cert.pem、key.pem、pass），可多次。"`
}

func (p present) open() (list []*desk.Person, err error) {
	for _, dir := range p.Holder {
		dir = filepath.Clean(dir)
		who, err := desk.Open(filepath.Dir(dir), filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		list = append(list, who)
	}
	return list, nil
}

type rootSignCmd struct {
	rootDir
	present
	ID string `arg:"" help:"收入时给出的编号。"`
}

func (c *rootSignCmd) Run(ctx context.Context) error {
	who, err := c.open()
	if err != nil {
		return err
	}
	file, err := c.folder().Sign(ctx, c.ID, who)
	return told(file, err)
}

// told prints where the file lies.
func told(file string, err error) error {
	if err == nil {
		fmt.Println(file)
	}
	return held(err)
}

type rootRevokeCmd struct {
	rootDir
	present
	Serial string `arg:"" help:"证书序列号（十六进制）。"`
	Reason string `required:"" help:"撤销原因，如 cACompromise、superseded、cessationOfOperation。"`
}

func (c *rootRevokeCmd) Run(ctx context.Context) error {
	who, err := c.open()
	if err != nil {
		return err
	}
	file, err := c.folder().Revoke(ctx, c.Serial, c.Reason, who)
	return told(file, err)
}

type rootARLCmd struct {
	rootDir
	present
}

func (c *rootARLCmd) Run(ctx context.Context) error {
	who, err := c.open()
	if err != nil {
		return err
	}
	file, err := c.folder().Revoke(ctx, "", "", who)
	return told(file, err)
}

type rootMinutesCmd struct{ rootDir }

func (c *rootMinutesCmd) Run() error {
	text, signed, err := c.folder().Minutes()
	if err != nil {
		return err
	}
	fmt.Print(text)
	if signed {
		fmt.Println("（以上均有根的签名）")
	} else {
		fmt.Println("（最后一次开启根密钥之后的各行待下次开启时签名）")
	}
	return nil
}
