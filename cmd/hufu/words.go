package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/pki/ra"
)

// usageWords are the parser's complaints, in the language of who reads them.
var usageWords = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`^expected one of (.*)$`), `请给出命令，如 $1（hufu --help 列出全部）`},
	{regexp.MustCompile(`^unexpected argument (.*?)(, did you mean (.*)\?)?$`), `没有命令或多余的参数：$1$2`},
	{regexp.MustCompile(`^unknown flag (.*?)(, did you mean (.*)\?)?$`), `没有选项 $1$2`},
	{regexp.MustCompile(`^missing flags: (.*)$`), `缺少选项：$1`},
	{regexp.MustCompile(`^expected "?(<.*>)"?$`), `缺少参数：$1`},
	{regexp.MustCompile(`^missing positional arguments (.*)$`), `缺少参数：$1`},
	{regexp.MustCompile(`^(--\S+): expected (string|int|duration).* but got "?(EOL.*)$`), `选项 $1 需要一个值`},
	{regexp.MustCompile(`^(--\S+): expected (?:an int|a valid .* int|int value).* but got (".*?").*$`), `选项 $1 应为整数，却是 $2`},
	{regexp.MustCompile(`^(--\S+): expected duration but got (".*?").*$`), `选项 $1 应为时长（如 30s、5m），却是 $2`},
	{regexp.MustCompile(`^(--\S+): expected \S+ value but got.*$`), `选项 $1 需要一个值`},
	{regexp.MustCompile(`^(--\S+) must be one of (.*) but got (".*")$`), `选项 $1 应为 $2 之一，却是 $3`},
	{regexp.MustCompile(`^(\S+) must be one of (.*) but got (".*")$`), `参数 $1 应为 $2 之一，却是 $3`},
	{regexp.MustCompile(`, did you mean (one of )?(.*)\?$`), `；是否指 $2？`},
}

// ranges are what whole numbers of options lie in.
var ranges = map[string]string{
	"--limit": fmt.Sprintf("1 至 %d", ra.PageMax), "--samples": fmt.Sprintf("0 至 %d", samplesMax), "--base-port": "1 至 65495", "--seconds": "1 至 600",
}

// negative is the parser's complaint about one below zero, which looks to it
// like an option.
var negative = regexp.MustCompile(`^(--\S+): expected .* but got "?(-\d+)"?.*$`)

// usageText says in Chinese what was wrong with a command line.
func usageText(err error) string {
	text := strings.TrimSpace(err.Error())
	for flag, within := range ranges {
		if negative.ReplaceAllString(text, "$1") == flag {
			return fmt.Sprintf("选项 %s 应为 %s 的整数，却是 %s", flag, within, negative.ReplaceAllString(text, "$2"))
		}
	}
	for _, w := range usageWords {
		text = w.from.ReplaceAllString(text, w.to)
	}
	return text
}

// failureText is a failure in Chinese, where it is the system's bare complaint
// about a file.
func failureText(err error) string {
	at, ok := errors.AsType[*fs.PathError](err)
	if text := refusal.Plain(err); ok && text != "" && err.Error() == at.Error() { // one with words around it says enough
		return fmt.Sprintf("不能读写 %s：%s", at.Path, text)
	}
	if at, ok := errors.AsType[*url.Error](err); ok && refusal.Plain(err) != "" {
		return fmt.Sprintf("无法连接 %s：%s", at.URL, refusal.Plain(err))
	}
	return err.Error()
}

// inChinese says what a file is not.
func inChinese(name string, err error) error {
	text := ""
	switch {
	case errors.Is(err, keyfile.ErrPassphrase):
		text = "口令不对，或私钥文件已损坏；请用 --pass-file 指明口令文件"
	case errors.Is(err, keyfile.ErrCurve):
		text = "不是 SM2 私钥"
	case errors.Is(err, keyfile.ErrSyntax):
		text = "不是私钥文件（PEM，PKCS#8 或 EC PRIVATE KEY）"
	case errors.Is(err, sealedkey.ErrOpen):
		text = "用这个签名私钥打不开；请核对是否为申请时的密钥"
	case errors.Is(err, sealedkey.ErrSyntax):
		text = "不是密封的加密私钥（GM/T 0010 密钥保护结构）"
	case errors.Is(err, cert.ErrSyntax):
		text = "不是 SM2 证书"
	}
	if text == "" {
		return fmt.Errorf("%w：%s：%w", errExit1, name, err)
	}
	return fmt.Errorf("%w：%s %s", errExit1, name, text)
}

// helpWords are the headings of the parser's help.
var helpWords = strings.NewReplacer(
	"Usage: ", "用法：", "Arguments:", "参数：", "Flags:", "选项：", "Commands:", "命令：",
	"Show context-sensitive help.", "显示帮助。",
	`Run "hufu <command> --help" for more information on a command.`, "hufu <command> --help 说明一个命令。",
)

// help prints help with Chinese headings.
func help(o kong.HelpOptions, c *kong.Context) error {
	var b bytes.Buffer
	out := c.Stdout
	c.Stdout = &b
	err := kong.DefaultHelpPrinter(o, c)
	c.Stdout = out
	_, werr := helpWords.WriteString(out, b.String())
	return errors.Join(err, werr)
}
