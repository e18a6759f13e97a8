package quorum

import (
	"bytes"
	"errors"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
)

// top is how many custodians together look after those at the top (ADR 0037).
const top = 3

// Strength counts the custodians that zones of one register have among people:
// for those at the top, and for each zone whose keys are shared out.
func Strength(zones ...Zone) func(people []access.Person) ([]staff.Strength, error) {
	return func(people []access.Person) ([]staff.Strength, error) { return strength(zones, people) }
}

func strength(zones []Zone, people []access.Person) (list []staff.Strength, err error) {
	for i, z := range zones {
		if i == 0 {
			list = append(list, z.office(people))
		}
		c, err := z.Charter()
		if errors.Is(err, NotMade) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s := staff.Strength{Name: "开启" + Zones[z.Name] + "的密钥", Need: c.Threshold, Fix: "请先停机办理 hufu ceremony reshare --zone " + z.Name + "，由在册有效的保管人接替"}
		for _, o := range c.Custodians {
			if slices.ContainsFunc(people, func(p access.Person) bool { return bytes.Equal(p.Cert, o.Cert) && staff.InForce(p, z.Now()) }) {
				s.Left++
			}
		}
		list = append(list, s)
	}
	return list, nil
}

func (z Zone) office(people []access.Person) staff.Strength {
	role := Custody[z.Name]
	s := staff.Strength{Name: "办理超级管理员和审计管理员的变更", Need: top, Fix: "请先新增" + role.Title()}
	for _, p := range people {
		if p.Holds(role) && staff.InForce(p, z.Now()) {
			s.Left++
		}
	}
	return s
}
