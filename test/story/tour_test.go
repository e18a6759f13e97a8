package story

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// blocks are the commands the README shows.
var (
	blocks  = regexp.MustCompile("(?s)```\n(.*?)```")
	caseIDs = regexp.MustCompile(`\b[AR]\d{8}-[A-Z0-9]{8}\b`)
)

// tour runs the README line by line, as a newcomer would: D is linked as the
// folder it names, the ports are this story's. A number the README leaves to the
// reader is the one the commands before have printed; what has to be waited for
// is asked again.
func tour(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile("../../README.md")
	ts.Check(err)
	_, rest, found := strings.Cut(string(text), args[0])
	if !found {
		ts.Fatalf("the README has no %q", args[0])
	}
	port := func(offset string) string { return strings.TrimSuffix(ts.Getenv("BASE"), "0") + offset }
	ts.Check(os.Symlink(ts.MkAbs("D"), ts.MkAbs("hufu-data")))
	before, application, change := "", "", ""
	ran := 0
	for _, b := range blocks.FindAllStringSubmatch(rest, -1) {
		for _, line := range commands(b[1]) {
			if strings.HasPrefix(line, "go build") || strings.HasPrefix(line, "./hufu up") {
				continue // done before the story
			}
			line = strings.NewReplacer("./hufu ", "hufu ", ":18442", ":"+port("2"), ":18444", ":"+port("4"),
				"冻结案件编号", change, "解冻案件编号", change, "编号 ", application+" ").Replace(line)
			out := told(ts, before, line)
			for _, id := range caseIDs.FindAllString(out, -1) {
				if id[0] == 'A' && application == "" {
					application = id
				} else if id[0] == 'R' {
					change = id
				}
			}
			if strings.HasPrefix(line, "S=") {
				before += line + "\n"
			}
			ran++
		}
	}
	if ran < 20 {
		ts.Fatalf("only %d commands in the README", ran)
	}
}

// commands are the lines of a block; a here-document belongs to its command.
func commands(block string) (list []string) {
	inside := false
	for line := range strings.Lines(block) {
		switch {
		case inside:
			list[len(list)-1] += line
			inside = line != "J\n"
		case strings.TrimSpace(line) != "":
			list = append(list, line)
			inside = strings.Contains(line, "<<J")
		}
	}
	return list
}

func told(ts *testscript.TestScript, before, line string) string {
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		cmd := exec.Command("sh", "-c", before+line)
		cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "PATH="+ts.Getenv("PATH"), "OPENSSL_CONF=")
		out, err := cmd.CombinedOutput()
		if err == nil {
			ts.Logf("%s%s", line, out)
			return string(out)
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the README says %s\n%v: %s", line, err, out)
		}
	}
}
