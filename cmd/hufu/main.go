// Command hufu is the certification system and the tools around it. (虎符)
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/zone/desk"
)

type commands struct {
	Up        upCmd        `cmd:"" help:"在一个进程里运行整个系统（评估用）。"`
	As        asCmd        `cmd:"" help:"以某人身份办理：签名并提交。"`
	Self      selfCmd      `cmd:"" help:"证书持有人自助：查询，申请更新、冻结、撤销。"`
	Key       keyCmd       `cmd:"" help:"生成 SM2 密钥和证书请求。"`
	Open      openCmd      `cmd:"" help:"用签名私钥打开下载包，得到加密私钥。"`
	Envelope  envelopeCmd  `cmd:"" help:"指出密钥信封是哪种格式、有哪些偏差，能否打开。"`
	Verify    verifyCmd    `cmd:"" help:"离线核验账本（目录、ZIP 或网址）。"`
	Directory directoryCmd `cmd:"" help:"外部目录服务器。"`
	Agree     agreeCmd     `cmd:"" help:"从外部核对账本、OCSP、CRL、目录、数据库是否一致。"`
	Judicial  judicialCmd  `cmd:"" help:"核验司法取证证据包，接收人可打开。"`
	Backup    backupCmd    `cmd:"" help:"备份：联机、加密、增量。"`
	Restore   restoreCmd   `cmd:"" help:"恢复备份，或补回已发布而数据库缺少的记录。"`
	Roles     rolesCmd     `cmd:"" help:"角色权限表：谁可以办理什么。"`
	Describe  describeCmd  `cmd:"" help:"系统说明：组成、功能、证书内容、算法、密钥清单（材料3）。"`
	Root      rootCmd      `cmd:"" help:"离线根：建立、收入请求、签发、撤销。"`
	Ceremony  ceremonyCmd  `cmd:"" help:"密钥仪式：分管、更换份额、销毁、纪要。"`
	Custodian custodianCmd `cmd:"" help:"份额保管人：启动时交出份额。"`
	Bench     benchCmd     `cmd:"" help:"性能测量。"`
	Takeover  takeoverCmd  `cmd:"" help:"业务承接：核对另一机构移交的证书、列表、密钥和注册资料。"`
}

// Exit codes of the contract.
const (
	exitRefused = 1
	exitUsage   = 2
	exitFailed  = 3
)

func main() { os.Exit(run(os.Args[1:])) }

// ldapMax bounds an answer read from a directory server: the largest list.
const ldapMax = 64 << 20

// ballast is never touched, so it takes no memory; but the collector counts it
// and runs less often while the heap is small (docs/adr/0020).
var ballast = make([]byte, 96<<20)

func run(args []string) int {
	defer runtime.KeepAlive(ballast)
	ber.MaxPacketLengthBytes = ldapMax // the library's own bound is 2 GiB
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	exit := -1
	p, err := kong.New(&c, kong.Name("hufu"), kong.Description("虎符：电子政务电子认证系统。"), kong.Help(help),
		kong.Exit(func(code int) { exit = code }), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	switch {
	case len(args) == 0: // somebody who does not know what there is
		_, _ = p.Parse([]string{"--help"})
		return exitUsage
	case args[0] == "help":
		args = append(args[1:len(args):len(args)], "--help")
	}
	k, err := p.Parse(args)
	if exit == 0 { // --help
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, usageText(err))
		return exitUsage
	}
	return code(k.Run(commandName(k.Command())))
}

// code says what went wrong in the way the contract has it.
func code(err error) int {
	var refused *desk.Refused
	var usage *desk.Usage
	var no *refusal.Refusal
	var broken *ledger.Broken
	switch {
	case err == nil:
		return 0
	case errors.As(err, &refused):
		line, e := json.Marshal(refused.Report)
		if e != nil {
			return exitFailed
		}
		fmt.Fprintln(os.Stderr, string(line))
		return exitRefused
	case errors.As(err, &no):
		return code(&desk.Refused{Report: no.Report()})
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, usage.Text)
		return exitUsage
	case errors.As(err, &broken):
		fmt.Fprintln(os.Stderr, "账本被改动或不完整："+broken.Error())
		return exitRefused
	case errors.Is(err, errExit1):
		fmt.Fprintln(os.Stderr, err)
		return exitRefused
	}
	fmt.Fprintln(os.Stderr, failureText(err))
	return exitFailed
}

// errExit1 marks failures the contract gives exit code 1.
var errExit1 = errors.New("未办理")

// commandName is the command as it was typed, for those that share a body.
type commandName string

func now() time.Time { return time.Now() }
