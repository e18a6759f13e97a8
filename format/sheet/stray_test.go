package sheet

import (
	"errors"
	"strings"
	"testing"
)

// What stands beyond the header would be dropped: the row says so, the others go on.
func TestARowWithMoreThanItsHeaderIsRefused(t *testing.T) {
	text := strings.Join(Columns, ",") + "\nperson-dual,CN,,,甲,,张三,resident-id,1,x\nperson-dual,CN,,,甲,,李四,resident-id,2,y,extra\nperson-dual,CN,,,甲,,王五,resident-id,3,z, \n"
	rows, err := Read("a.csv", []byte(text))
	if err != nil || len(rows) != 3 {
		t.Fatal(rows, err)
	}
	for i, want := range []error{nil, BadRow, nil} {
		if !errors.Is(rows[i].Stray, want) {
			t.Errorf("row %d: %v", i, rows[i].Stray)
		}
	}
}
