package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/takeover"
)

type takeoverCmd struct {
	Check takeoverCheckCmd `cmd:"" help:"离线核对移交的文件：哪些符合，哪些不符，为什么。不改动任何东西。"`
	Key   takeoverKeyCmd   `cmd:"" help:"把移交的 CA 私钥导入核心区的密码设备（评估用软件设备）；经两人批准的承接才会使用它。"`
}

type takeoverCheckCmd struct {
	Folder   string `arg:"" name:"folder" help:"移交的文件夹：CA 证书链、用户证书、撤销列表、密钥、注册资料。"`
	JSON     bool   `help:"输出 JSON。"`
	CSV      string `help:"把逐项结果写成 CSV 文件。"`
	PassFile string `name:"pass-file" help:"私钥文件的口令文件。"`
	KM       string `name:"km" help:"密钥管理系统的身份证书；给出时把符合的密钥密封给它，写入移交包（km-0001.json……），由两人在密钥管理系统承接。"`
	Out      string `help:"把符合的部分写成移交包（目录，须不存在）。"`
}

func (c *takeoverCheckCmd) Run() error {
	var pass []byte
	if c.PassFile != "" {
		var err error
		if pass, err = passFrom(c.PassFile); err != nil {
			return err
		}
	}
	info, err := os.Stat(c.Folder)
	if err != nil {
		return desk.Unreadable(err)
	}
	if !info.IsDir() {
		return &desk.Usage{Text: c.Folder + " 不是文件夹"}
	}
	o := takeover.Options{Pass: pass, Now: now()}
	if c.KM != "" {
		if o.KM, err = readCert(c.KM); err != nil {
			return err
		}
		if c.Out == "" {
			return &desk.Usage{Text: "--km 须与 --out 同时给出"}
		}
	}
	r, err := takeover.Check(c.Folder, o)
	if err != nil {
		return err
	}
	if c.CSV != "" {
		f, err := os.OpenFile(c.CSV, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if err := r.CSV(f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if c.Out != "" {
		if err := writePieces(c.Out, r); err != nil {
			return err
		}
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	r.Print(os.Stdout)
	return nil
}

type takeoverKeyCmd struct {
	Dir      string `help:"数据目录。" default:"./hufu-data"`
	CA       string `required:"" help:"被承接 CA 的证书。"`
	Key      string `required:"" help:"它的私钥（PKCS#8）。"`
	PassFile string `name:"pass-file" help:"私钥文件的口令文件。"`
}

func (c *takeoverKeyCmd) Run() error {
	of, err := readCert(c.CA)
	if err != nil {
		return err
	}
	key, err := readKey(c.Key, c.PassFile)
	if err != nil {
		return err
	}
	if !bytes.Equal(alg.Point(&key.PublicKey), of.Point) {
		return takeover.OtherKey.At("key", takeover.OtherKey.Clause)
	}
	pass, err := os.ReadFile(filepath.Join(c.Dir, "secrets", "ca.pass"))
	if err != nil {
		return desk.Unreadable(err)
	}
	device, err := soft.Open(filepath.Join(c.Dir, "ca", "keys"), pass)
	if err != nil {
		return err
	}
	label := ca.WardLabel(of.Point)
	if err := device.Import(label, key); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fmt.Println(label)
	return nil
}

// handoverPack uploads a package, the parts that are not there yet.
func handoverPack(ctx context.Context, p *desk.Person, words []string) (any, error) {
	if len(words) != 1 {
		return nil, &desk.Usage{Text: "需要一个参数：takeover check --out 写出的移交包"}
	}
	first, err := readPiece(words[0], 0)
	if err != nil {
		return nil, err
	}
	m, err := handover.Read(first)
	if err != nil {
		return nil, &desk.Usage{Text: words[0] + " 不是移交包"}
	}
	path := "/api/v1/handover/" + handover.Digest(first)
	var v cacore.Handover
	if err := p.Call(ctx, http.MethodGet, path, nil, &v); err != nil {
		return nil, err
	}
	for n := range len(m.Pieces) + 1 {
		if slices.Contains(v.Have, n) {
			continue
		}
		body, err := readPiece(words[0], n)
		if err != nil {
			return nil, err
		}
		if err := p.Call(ctx, http.MethodPost, fmt.Sprintf("%s/%d", path, n), body, &v); err != nil {
			return nil, err
		}
	}
	return &v, nil
}

// readPiece reads one part of a package.
func readPiece(dir string, n int) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, fmt.Sprintf("%04d", n)))
	if err != nil {
		return nil, desk.Unreadable(err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, handover.ManifestMax+1))
}

// writePieces writes a package, the manifest as 0000.
func writePieces(dir string, r *takeover.Report) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return desk.Unreadable(err)
	}
	for i, p := range r.Pieces() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d", i)), p, 0o600); err != nil {
			return err
		}
	}
	for i, p := range r.Archives() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("km-%04d.json", i+1)), p, 0o600); err != nil {
			return err
		}
	}
	return nil
}
