package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/quorum"
)

type ceremonyCmd struct {
	InitCA  initCmd       `cmd:"" name:"init-ca" help:"把 CA 的密钥分给保管人。"`
	InitRA  initCmd       `cmd:"" name:"init-ra" help:"把注册系统的密钥分给保管人。"`
	InitKM  initCmd       `cmd:"" name:"init-km" help:"把密钥管理系统的密钥（主密钥在内）分给保管人。"`
	Reshare reshareCmd    `cmd:"" help:"更换份额：保管人离任、遗失私钥或改变门限；旧份额作废。"`
	Destroy destroyKeyCmd `cmd:"" help:"销毁一个密钥：超级管理员与审计管理员批准，保管人到场。"`
	Show    showCmd       `cmd:"" help:"列出保管人、密钥和纪要。"`
	Minutes minutesCmd    `cmd:"" help:"核验并打印一份纪要（HTML，可打印或另存 PDF）。"`
}

type folderFlags struct {
	Dir string `help:"数据目录。" default:"./hufu-data"`
}

func (f folderFlags) zone(name string) quorum.Zone {
	return quorum.Zone{Dir: f.Dir, Name: name, Now: now}
}

// attendance is who came: named on the command line, or asked for at the
// terminal one by one.
type attendance struct {
	Holder []string `sep:"none" help:"到场保管人的目录（cert.pem、key.pem、pass），可多次；在终端上省略则逐位询问。"`
}

// askMax bounds the people asked for at a terminal.
const askMax = 30

func (a attendance) open(stdin *os.File) ([]*desk.Person, error) {
	dirs := a.Holder
	if len(dirs) == 0 && term.IsTerminal(int(stdin.Fd())) {
		in := bufio.NewScanner(io.LimitReader(stdin, 1<<20))
		for len(dirs) < askMax {
			fmt.Fprintf(os.Stderr, "第 %d 位到场保管人的目录（直接回车结束）：", len(dirs)+1)
			if !in.Scan() || strings.TrimSpace(in.Text()) == "" {
				break
			}
			dirs = append(dirs, strings.TrimSpace(in.Text()))
		}
	}
	return openAll(dirs)
}

// openAll opens people's keys from their folders.
func openAll(dirs []string) (list []*desk.Person, err error) {
	for _, dir := range dirs {
		dir = filepath.Clean(dir)
		who, err := desk.Open(filepath.Dir(dir), filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		list = append(list, who)
	}
	return list, nil
}

// planFlags say how keys are shared out.
type planFlags struct {
	Threshold int      `help:"开启密钥所需的人数。" default:"3"`
	Custodian []string `sep:"none" required:"" help:"份额保管人的证书（PEM），可多次；常例为五名。"`
}

func (f planFlags) plan() (p quorum.Plan, err error) {
	p.Threshold = f.Threshold
	for _, name := range f.Custodian {
		data, err := os.ReadFile(name)
		if err != nil {
			return p, desk.Unreadable(err)
		}
		c, err := cert.FromPEM(data)
		if err != nil {
			return p, &desk.Usage{Text: fmt.Sprintf("%s 不是证书：%v", name, err)}
		}
		p.Custodians = append(p.Custodians, c)
	}
	return p, nil
}

type initCmd struct {
	folderFlags
	planFlags
	attendance
}

// zoneOf is named by the command: init-ca is about ca.
func zoneOf(command string) string { return strings.TrimPrefix(strings.Fields(command)[1], "init-") }

func (c *initCmd) Run(ctx context.Context, command commandName) error {
	p, err := c.plan()
	if err != nil {
		return err
	}
	who, err := c.attendance.open(os.Stdin)
	if err != nil {
		return err
	}
	m, err := c.zone(zoneOf(string(command))).Init(ctx, p, who)
	return recorded(c.Dir, m, err)
}

// recorded says where the minutes lie.
func recorded(dir string, m *quorum.Minutes, err error) error {
	if err != nil {
		return held(err)
	}
	for i, s := range m.Steps {
		fmt.Printf("%d  %s\n", i+1, s.Text)
	}
	fmt.Printf("纪要 %s；打印：hufu ceremony minutes --dir %s %s --out 纪要.html\n", m.ID, dir, m.ID)
	return nil
}

type reshareCmd struct {
	folderFlags
	planFlags
	attendance
	Zone   string `required:"" enum:"ca,ra,km" help:"系统：ca、ra 或 km。"`
	Reason string `required:"" help:"原因，如“保管人乙离任”。"`
}

func (c *reshareCmd) Run(ctx context.Context) error {
	p, err := c.plan()
	if err != nil {
		return err
	}
	who, err := c.attendance.open(os.Stdin)
	if err != nil {
		return err
	}
	m, err := c.zone(c.Zone).Reshare(ctx, p, c.Reason, who)
	return recorded(c.Dir, m, err)
}

type destroyKeyCmd struct {
	folderFlags
	attendance
	Zone    string   `required:"" enum:"ca,ra,km" help:"系统：ca、ra 或 km。"`
	Approve []string `sep:"none" help:"批准人的目录：超级管理员和审计管理员。"`
	Reason  string   `required:"" help:"原因。"`
	DryRun  bool     `name:"dry-run" help:"只说明将销毁什么。"`
	Label   string   `arg:"" help:"密钥名，见 hufu ceremony show。"`
}

func (c *destroyKeyCmd) Run(ctx context.Context) error {
	if c.DryRun {
		keys, err := soft.Labels(filepath.Join(c.Dir, c.Zone, "keys"))
		if err != nil {
			return desk.Unreadable(err)
		}
		for _, k := range keys {
			if k.Label == c.Label {
				fmt.Printf("将销毁 %s 的 %s（%s）：文件 %s 以随机数覆写后删除，不能恢复；未作任何改动\n", quorum.Zones[c.Zone], k.Label, k.Kind, filepath.Join(c.Dir, c.Zone, "keys", k.Label+".key"))
				return nil
			}
		}
		return quorum.NoKey.At("label", quorum.NoKey.Clause).Because("%.40q", c.Label)
	}
	approve, err := openAll(c.Approve)
	if err != nil {
		return err
	}
	who, err := c.attendance.open(os.Stdin)
	if err != nil {
		return err
	}
	m, err := c.zone(c.Zone).Destroy(ctx, c.Label, c.Reason, approve, who)
	return recorded(c.Dir, m, err)
}

type showCmd struct{ folderFlags }

func (c *showCmd) Run() error {
	for _, name := range []string{"ca", "ra", "km"} {
		if err := c.show(name); err != nil {
			return err
		}
	}
	all, err := quorum.List(c.Dir)
	if err != nil {
		return err
	}
	for _, m := range all {
		state := "已结束"
		if !m.Closed() {
			state = "未结束，重新执行同一命令即继续"
		}
		fmt.Printf("纪要 %s  %s  %s  %d 步  %s\n", m.ID, m.Begun.Local().Format("2006-01-02 15:04"), m.Title(), len(m.Steps), state)
	}
	return nil
}

func (c *showCmd) show(name string) error {
	keys, err := soft.Labels(filepath.Join(c.Dir, name, "keys"))
	if err != nil {
		return desk.Unreadable(err)
	}
	k, err := c.zone(name).Charter()
	switch {
	case errors.Is(err, quorum.NotMade):
		fmt.Printf("%s：密钥由口令文件开启\n", quorum.Zones[name])
	case err != nil:
		return err
	default:
		names := make([]string, len(k.Custodians))
		for i, o := range k.Custodians {
			names[i] = o.Name
		}
		fmt.Printf("%s：%s 起由保管人开启，%d 名中任意 %d 名：%s\n", quorum.Zones[name], k.Made.Local().Format("2006-01-02"), len(names), k.Threshold, strings.Join(names, "、"))
	}
	for _, key := range keys {
		fmt.Printf("  %-28s %s\n", key.Label, key.Kind)
	}
	return nil
}

type minutesCmd struct {
	folderFlags
	Out string `help:"输出的 HTML 文件；省略则打印到标准输出。"`
	ID  string `arg:"" help:"纪要编号，见 hufu ceremony show。"`
}

func (c *minutesCmd) Run() error {
	m, err := quorum.Read(c.Dir, c.ID)
	if err != nil {
		return err
	}
	if c.Out == "" {
		return m.Print(os.Stdout)
	}
	var b strings.Builder
	if err := m.Print(&b); err != nil {
		return err
	}
	if err := spare(c.Out); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, []byte(b.String()), 0o600); err != nil {
		return desk.Unreadable(err)
	}
	state := "各步骤、到场人签名与审计密钥的签名均有效"
	if !m.Closed() {
		state = "各步骤与到场人签名均有效；仪式尚未结束"
	}
	fmt.Printf("%s：%s\n", c.Out, state)
	return nil
}

type custodianCmd struct {
	Give giveCmd `cmd:"" help:"交出本人的份额，供正在等待的系统开启密钥。"`
}

type giveCmd struct {
	folderFlags
	attendance
	Zone        string `required:"" enum:"ca,ra,km" help:"系统：ca、ra 或 km。"`
	Fingerprint string `help:"在运行系统的机器前核对过的指纹；省略则采用数据目录中的。"`
}

func (c *giveCmd) Run(ctx context.Context) error {
	who, err := c.attendance.open(os.Stdin)
	if err != nil {
		return err
	}
	if len(who) == 0 {
		return &desk.Usage{Text: "需要 --holder 目录"}
	}
	at, err := quorum.ReadBeacon(c.Dir, c.Zone)
	if err != nil {
		return err
	}
	if c.Fingerprint != "" {
		at.Fingerprint = c.Fingerprint
	}
	for _, p := range who {
		s, err := c.zone(c.Zone).Give(ctx, at, p)
		if err != nil {
			return err
		}
		fmt.Printf("%s：指纹 %s，已有 %d 名交出份额，需要 %d 名\n", s.Title, s.Fingerprint, len(s.Given), s.Threshold)
	}
	return nil
}
