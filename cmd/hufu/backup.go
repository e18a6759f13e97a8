package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/zone/backup"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/plant"
)

type backupCmd struct {
	Run    backupRunCmd    `cmd:"" default:"withargs" help:"备份一次（可在运行中进行）。"`
	List   backupListCmd   `cmd:"" help:"列出备份集。"`
	Verify backupVerifyCmd `cmd:"" help:"核验备份库：清单的签名与次序、每一块的内容。"`
}

type backupRunCmd struct {
	Dir     string   `help:"数据目录。" default:"./hufu-data"`
	To      string   `required:"" help:"备份库目录；没有则建立。"`
	Quorum  int      `help:"打开备份库所需的恢复负责人人数；省略为任何一人。"`
	Officer []string `help:"恢复负责人的证书（PEM），可多次；建库时指定。"`
	Holder  []string `sep:"none" help:"到场保管人的目录，可多次；CA 的密钥已分管时须给出。"`
	People  bool     `help:"连同 people/ 中各人的加密私钥（默认不备份）。"`
	JSON    bool     `help:"输出 JSON。"`
}

func (c *backupRunCmd) Run(ctx context.Context) error {
	b := backup.Config{Dir: c.Dir, Repo: c.To, Quorum: c.Quorum, People: c.People, Now: now, Progress: os.Stderr}
	for _, name := range c.Officer {
		k, err := readCert(name)
		if err != nil {
			return err
		}
		b.Officers = append(b.Officers, k)
	}
	var err error
	if b.Present, err = openAll(c.Holder); err != nil {
		return err
	}
	r, err := backup.Backup(ctx, b)
	if errors.Is(err, plant.ErrBusy) {
		return fmt.Errorf("%w: %w", errExit1, err)
	}
	if err != nil || c.JSON {
		return errors.Join(err, jsonUnless(err, r))
	}
	fmt.Printf("第 %d 集：%d 个文件 %d 字节，%d 块，新写 %d 块 %d 字节；账本 %d 条，根 %s；用时 %s 秒\n",
		r.Set, r.Files, r.Size, r.Chunks, r.New, r.NewBytes, r.Ledger.Size, r.Ledger.Root, r.Seconds)
	return nil
}

// jsonUnless prints a result for programs unless there was an error.
func jsonUnless(err error, v any) error {
	if err != nil {
		return nil
	}
	return toJSON(os.Stdout, v)
}

func toJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

type backupListCmd struct {
	Repo      string `arg:"" help:"备份库目录。"`
	LedgerKey string `name:"ledger-key" help:"账本公钥（PEM）；省略则相信备份库所记的。"`
	JSON      bool   `help:"输出 JSON。"`
}

func (c *backupListCmd) Run() error {
	key, err := believed(c.LedgerKey)
	if err != nil {
		return err
	}
	l, err := backup.List(c.Repo, key)
	if err != nil || c.JSON {
		return errors.Join(err, jsonUnless(err, l))
	}
	fmt.Printf("备份库 %s，建立于 %s；恢复须 %d 人：\n", l.ID, l.Created.Format(time.RFC3339), l.Quorum)
	for _, o := range l.Officers {
		fmt.Println("  " + o)
	}
	for _, s := range l.Sets {
		fmt.Printf("第 %d 集  %s  %d 个文件 %d 字节  账本 %d 条  证书 %d 张  CRL 至 %d 号\n", s.Set, s.At.Local().Format("2006-01-02 15:04:05"), s.Files, s.Size, s.Ledger.Size, s.Certificates, s.CRLNumber)
	}
	return nil
}

type backupVerifyCmd struct {
	Repo      string   `arg:"" help:"备份库目录。"`
	LedgerKey string   `name:"ledger-key" help:"账本公钥（PEM）；省略则相信备份库所记的。"`
	Key       []string `help:"恢复负责人的私钥，可多次；给出则解密每个文件核对。"`
	PassFile  []string `name:"pass-file" help:"私钥的口令文件，次序与 --key 相同。"`
	JSON      bool     `help:"输出 JSON。"`
}

func (c *backupVerifyCmd) Run(ctx context.Context) error {
	key, err := believed(c.LedgerKey)
	if err != nil {
		return err
	}
	private, err := privateKeys(c.Key, c.PassFile)
	if err != nil {
		return err
	}
	r, err := backup.Verify(ctx, c.Repo, key, private, os.Stderr)
	if err != nil || c.JSON {
		return errors.Join(err, jsonUnless(err, r))
	}
	how := "未解密"
	if r.Opened {
		how = "已解密并核对每个文件"
	}
	fmt.Printf("备份库完好：%d 集，%d 块，%d 字节；%s\n", r.Sets, r.Chunks, r.Bytes, how)
	return nil
}

// believed reads the verifying key, or says that none was given.
func believed(name string) (*ecdsa.PublicKey, error) {
	if name == "" {
		fmt.Fprintln(os.Stderr, "未给 --ledger-key：相信备份库自己所记的账本公钥")
		return nil, nil
	}
	return verifyingKey(name)
}

// privateKeys reads the officers' keys, each with its passphrase if it has one.
func privateKeys(names, passFiles []string) (list []*sm2.PrivateKey, err error) {
	if len(passFiles) > len(names) {
		return nil, &desk.Usage{Text: "--pass-file 比 --key 多"}
	}
	for i, name := range names {
		var pass []byte
		if i < len(passFiles) {
			if pass, err = passFrom(passFiles[i]); err != nil {
				return nil, err
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, &desk.Usage{Text: err.Error()}
		}
		key, err := keyfile.Read(text, pass)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errExit1, name, err)
		}
		list = append(list, key)
	}
	return list, nil
}

type restoreCmd struct {
	Repo      string   `arg:"" optional:"" help:"备份库目录；只用 --missing 补回时省略。"`
	To        string   `required:"" help:"恢复到的新目录；只用 --missing 时为数据目录。"`
	Key       []string `help:"恢复负责人的私钥，可多次。"`
	PassFile  []string `name:"pass-file" help:"私钥的口令文件，次序与 --key 相同。"`
	Set       int      `help:"第几集；省略为最新。"`
	LedgerKey string   `name:"ledger-key" help:"账本公钥（PEM）；省略则相信备份库所记的。"`
	Missing   string   `help:"已发布的账本（目录、ZIP 或网址）：列出并补回数据库缺少的记录。"`
	Holder    []string `sep:"none" help:"到场保管人的目录，可多次；补回时 CA 的密钥已分管则须给出。"`
	DryRun    bool     `name:"dry-run" help:"与 --missing 同用：只列出，不补回。"`
	JSON      bool     `help:"输出 JSON。"`
}

func (c *restoreCmd) Run(ctx context.Context) error {
	var published ledger.Source
	if c.Missing != "" {
		src, done, err := source(c.Missing)
		if err != nil {
			return err
		}
		defer done()
		published = src
	}
	present, err := openAll(c.Holder)
	if err != nil {
		return err
	}
	switch {
	case c.Repo == "" && published == nil:
		return &desk.Usage{Text: "请给出备份库，或用 --missing 给出已发布的账本"}
	case c.Repo != "" && c.DryRun:
		return &desk.Usage{Text: "--dry-run 只与 --missing 同用，不带备份库"}
	case c.Repo == "":
		r, err := backup.Reconcile(ctx, backup.Reconciliation{Dir: c.To, Published: published, DryRun: c.DryRun, Present: present, Now: now, Progress: os.Stderr})
		if errors.Is(err, plant.ErrBusy) {
			return fmt.Errorf("%w: %w", errExit1, err)
		}
		if err != nil || c.JSON {
			return errors.Join(err, jsonUnless(err, r))
		}
		printMissing(r)
		return nil
	}
	key, err := believed(c.LedgerKey)
	if err != nil {
		return err
	}
	private, err := privateKeys(c.Key, c.PassFile)
	if err != nil {
		return err
	}
	r, err := backup.Restore(ctx, backup.Restoration{Repo: c.Repo, To: c.To, Keys: private, Set: c.Set, LedgerKey: key, Published: published, Present: present, Now: now, Progress: os.Stderr})
	if err != nil || c.JSON {
		return errors.Join(err, jsonUnless(err, r))
	}
	fmt.Printf("已恢复第 %d 集（%s）：%d 个文件，账本 %d 条；CRL 编号从 %d 之后继续；备用密钥已作废，启动后重新生成\n", r.Set, r.At.Format(time.RFC3339), r.Files, r.Ledger.Size, r.CRLFloor)
	if r.Missing != nil {
		printMissing(*r.Missing)
	}
	return nil
}

func printMissing(r backup.Report) {
	if len(r.Entries) == 0 {
		fmt.Printf("数据库有 %d 条，已发布 %d 条：没有缺少\n", r.Have, r.Published)
		return
	}
	did := "未补回（--dry-run）"
	if r.Imported {
		did = "已补回"
	}
	fmt.Printf("数据库有 %d 条，已发布 %d 条，缺 %d 条，%s：\n", r.Have, r.Published, len(r.Entries), did)
	for _, e := range r.Entries {
		note := ""
		switch {
		case e.Escrow == "lost":
			note = "（托管的加密密钥已丢失：请撤销并重新办理）"
		case e.Request != "":
			note = "（案件 " + e.Request + "）"
		}
		fmt.Printf("%6d  %s  %-12s %s %s %s %s%s\n", e.Index, e.At.Local().Format("2006-01-02 15:04:05"), e.Kind, e.Serial, e.Use, e.Subject, e.List, note)
	}
}
