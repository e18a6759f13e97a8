package api

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2/validation"
)

// speak puts the library's complaints about a request into Chinese.
func speak() {
	validation.MsgUnexpectedProperty = "没有这个字段"
	validation.MsgExpectedRFC3339DateTime = "应为日期时间，如 2026-01-02T15:04:05Z"
	validation.MsgExpectedRFC3339Date = "应为日期，如 2026-01-02"
	validation.MsgExpectedBoolean = "应为 true 或 false"
	validation.MsgExpectedNumber = "应为数字"
	validation.MsgExpectedInteger = "应为整数"
	validation.MsgExpectedString = "应为文字"
	validation.MsgExpectedBase64String = "应为 Base64 文字"
	validation.MsgExpectedArray = "应为列表"
	validation.MsgExpectedObject = "应为对象"
	validation.MsgExpectedArrayItemsUnique = "列表中有重复的项"
	validation.MsgExpectedOneOf = "应为 %s 之一"
	validation.MsgExpectedMinimumNumber = "应不小于 %v"
	validation.MsgExpectedExclusiveMinimumNumber = "应大于 %v"
	validation.MsgExpectedMaximumNumber = "应不大于 %v"
	validation.MsgExpectedExclusiveMaximumNumber = "应小于 %v"
	validation.MsgExpectedMinLength = "至少 %d 个字符"
	validation.MsgExpectedMaxLength = "至多 %d 个字符"
	validation.MsgExpectedMatchPattern = "不合格式 %s"
	validation.MsgExpectedMinItems = "至少 %d 项"
	validation.MsgExpectedMaxItems = "至多 %d 项"
	validation.MsgExpectedRequiredProperty = "缺少字段 %s"
}

// otherWords are complaints the library has no variable for.
var otherWords = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`^validation failed *`), ``},
	{regexp.MustCompile(`^(invalid|unable to parse) integer.*`), `应为整数`},
	{regexp.MustCompile(`^invalid float.*`), `应为数字`},
	{regexp.MustCompile(`^invalid boolean.*`), `应为 true 或 false`},
	{regexp.MustCompile(`^invalid date/time.*`), `应为日期时间，如 2026-01-02T15:04:05Z`},
	{regexp.MustCompile(`^unexpected end of JSON input$`), `不是完整的 JSON`},
	{regexp.MustCompile(`^invalid character .*`), `不是 JSON`},
	{regexp.MustCompile(`^request body is required$`), `请求没有内容`},
	{regexp.MustCompile(`^request body is too large limit=(\d+) bytes$`), `内容超过 $1 字节`},
	{regexp.MustCompile(`^unknown content type: (.*)$`), `不接受的内容类型 $1`},
	{regexp.MustCompile(`^cannot read request body$`), `没有收到完整的内容`},
	{regexp.MustCompile(`^request body read timeout$`), `内容没有在限定时间内到达`},
}

// bodily are complaints about the content as a whole: the file that was sent.
var bodily = regexp.MustCompile(`^request body is (?:required|too large limit=(\d+) bytes)$`)

func inChinese(text string) string {
	text = strings.TrimSpace(text)
	if m := bodily.FindStringSubmatch(text); m != nil && m[1] != "" {
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil && n >= 1<<20 {
			return fmt.Sprintf("内容超过 %d MB", n>>20)
		}
	}
	for _, w := range otherWords {
		text = w.from.ReplaceAllString(text, w.to)
	}
	return text
}
