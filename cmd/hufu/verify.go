package main

import (
	"archive/zip"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/zone/desk"
)

type verifyCmd struct {
	Source  string `arg:"" help:"账本：目录、ZIP 文件或网址。"`
	Key     string `required:"" help:"检查点公钥或证书（PEM）。"`
	JSON    bool   `help:"输出 JSON。"`
	Entries bool   `name:"entries-only" help:"导出件没有附正文时，只核验条目。"`
}

func (c *verifyCmd) Run(ctx context.Context) error {
	pub, err := verifyingKey(c.Key)
	if err != nil {
		return err
	}
	src, done, err := source(c.Source)
	if err != nil {
		return err
	}
	defer done()
	check := ledger.Verify
	if c.Entries {
		check = ledger.VerifyEntries
	}
	r, err := check(ctx, src, pub)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(map[string]any{
			"origin": r.Checkpoint.Origin, "entries": r.Entries, "root": hex.EncodeToString(r.Checkpoint.Root), "at": r.Checkpoint.At,
			"bodies": r.Bodies, "withheld": r.Withheld, "missing": r.Missing, "kinds": r.Kinds, "strays": r.Strays, "stray": r.Named,
		})
	}
	for _, s := range r.Named {
		fmt.Fprintf(os.Stderr, "注意：%s\n", s)
	}
	if more := r.Strays - int64(len(r.Named)); more > 0 {
		fmt.Fprintf(os.Stderr, "注意：另有 %d 个检查点未覆盖的文件\n", more)
	}
	fmt.Printf("账本完好：%s，%d 条，根 %x，检查点时间 %s；核对正文 %d 份，仅摘要 %d 份\n",
		r.Checkpoint.Origin, r.Entries, r.Checkpoint.Root, r.Checkpoint.At.Format(time.RFC3339), r.Bodies, r.Withheld)
	return nil
}

// headMax is how long a file of a ledger may take to begin: whoever asks is told
// within 10 s that nobody answers.
const headMax = 8 * time.Second

func source(name string) (ledger.Source, func(), error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return ledger.Web{URL: name, Client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: headMax, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}}}, func() {}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, desk.Unreadable(err)
	}
	if info.IsDir() {
		return ledger.Dir(name), func() {}, nil
	}
	z, err := zip.OpenReader(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%w：%s 不是完整的 ZIP 文件；请重新取得导出件，或给出账本目录、网址", errExit1, name)
	}
	return ledger.Archive(&z.Reader), func() { _ = z.Close() }, nil
}

// verifyingKey reads a public key or a certificate.
func verifyingKey(name string) (*ecdsa.PublicKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, desk.Unreadable(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, &desk.Usage{Text: name + " 不是 PEM 文件；请给出检查点公钥或其证书"}
	}
	if block.Type == "CERTIFICATE" {
		k, err := cert.Parse(block.Bytes)
		if err != nil {
			return nil, &desk.Usage{Text: name + " 不是 SM2 证书"}
		}
		return k.PublicKey(), nil
	}
	p, err := alg.PointOf(block.Bytes)
	if err != nil {
		return nil, &desk.Usage{Text: name + " 不是 SM2 公钥（PEM，PUBLIC KEY）；账本公钥见 people/ledger.pem"}
	}
	return alg.PublicKey(p)
}

func pointOf(key *sm2.PrivateKey) []byte { return alg.Point(&key.PublicKey) }

func readCert(name string) (*cert.Certificate, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, desk.Unreadable(err)
	}
	c, err := cert.FromPEM(data)
	if err != nil {
		return nil, inChinese(name, err)
	}
	return c, nil
}

func readChain(name string) (chain [][]byte, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, desk.Unreadable(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		chain = append(chain, block.Bytes)
	}
	return chain, nil
}
