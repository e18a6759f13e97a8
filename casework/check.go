package casework

import (
	"fmt"
	"slices"
	"strings"
)

// Check reports what is wrong with a table. Every room's tests call it.
func (k Kind) Check() error {
	reached := map[State]bool{k.Start: true}
	for range k.Steps {
		for _, s := range k.Steps {
			if reached[s.From] {
				reached[s.To] = true
			}
		}
	}
	type edge struct {
		from State
		do   Action
	}
	seen, done := map[edge]bool{}, map[Action]bool{}
	for _, s := range k.Steps {
		done[s.Do] = true
	}
	for _, s := range k.Steps {
		switch e := (edge{s.From, s.Do}); {
		case !reached[s.From]:
			return fmt.Errorf("%s: state %q is never reached", k.Name, s.From)
		case seen[e]:
			return fmt.Errorf("%s: %q from %q leads two ways", k.Name, s.Do, s.From)
		case s.NotBy != "" && !done[s.NotBy]:
			return fmt.Errorf("%s: nobody ever does %q", k.Name, s.NotBy)
		case slices.ContainsFunc(s.Apart, func(a Action) bool { return !done[a] }):
			return fmt.Errorf("%s: nobody ever does one of %q", k.Name, s.Apart)
		case k.States[s.From] == "" || k.States[s.To] == "" || k.Acts[s.Do] == "":
			return fmt.Errorf("%s: %q from %q to %q has no Chinese name", k.Name, s.Do, s.From, s.To)
		default:
			seen[e] = true
		}
	}
	return nil
}

// Mermaid draws the table. docs/flows holds the drawings; a test keeps them true.
func (k Kind) Mermaid() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s (%s)\n\n```mermaid\nstateDiagram-v2\n  [*] --> %s\n", k.Title, k.Name, k.StateTitle(k.Start))
	for _, s := range k.Steps {
		fmt.Fprintf(&b, "  %s --> %s: %s（%s）", k.StateTitle(s.From), k.StateTitle(s.To), k.ActTitle(s.Do), s.By.Title())
		if s.NotBy != "" {
			fmt.Fprintf(&b, "，不得为办理“%s”的人", k.ActTitle(s.NotBy))
		}
		for _, a := range s.Apart {
			fmt.Fprintf(&b, "，不得为本轮办理“%s”的人", k.ActTitle(a))
		}
		b.WriteByte('\n')
	}
	b.WriteString("```\n")
	return b.String()
}
