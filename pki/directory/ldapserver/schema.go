package ldapserver

import (
	"strings"

	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory"
)

const schemaName = "cn=subschema"

// own answers for the entries that are the server's: root DSE and schema.
func (c *conn) own(m ldapmsg.Message, q ldapmsg.Query) error {
	name, attrs := "", root
	if q.Base != "" {
		name, attrs = schemaName, schema
	}
	want := selection(q)
	for _, a := range q.Attrs {
		if a == "+" {
			want = nil
		}
	}
	if body := ldapmsg.EntryBody(name, attrs); directory.Matches(q.Filter, body) {
		if err := c.entry(m.ID, body, want, q.TypesOnly); err != nil {
			return err
		}
	}
	return c.done(m.ID, m.Op.Done(), ldapmsg.Success, "", "")
}

func attr(name string, values ...string) ldapmsg.Attribute {
	a := ldapmsg.Attribute{Type: name}
	for _, v := range values {
		a.Values = append(a.Values, []byte(v))
	}
	return a
}

var root = []ldapmsg.Attribute{
	attr("objectClass", "top"), attr("namingContexts", directory.Suffix), attr("supportedLDAPVersion", "3"),
	attr("supportedControl", ldapmsg.PagedResults), attr("subschemaSubentry", schemaName), attr("vendorName", "Hufu"),
}

// schema is what entries are made of (RFC 4519, RFC 4523).
var schema = []ldapmsg.Attribute{
	attr("objectClass", "top", "subentry", "subschema"), attr("cn", "subschema"),
	attr("attributeTypes", strings.Split(strings.TrimSpace(attributeTypes), "\n")...),
	attr("objectClasses", strings.Split(strings.TrimSpace(objectClasses), "\n")...),
}

const attributeTypes = `
( 2.5.4.0 NAME 'objectClass' EQUALITY objectIdentifierMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )
( 2.5.4.3 NAME ( 'cn' 'commonName' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.5.4.4 NAME ( 'sn' 'surname' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.5.4.5 NAME 'serialNumber' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.44 )
( 2.5.4.6 NAME ( 'c' 'countryName' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.11 SINGLE-VALUE )
( 2.5.4.7 NAME ( 'l' 'localityName' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.5.4.8 NAME ( 'st' 'stateOrProvinceName' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.5.4.10 NAME ( 'o' 'organizationName' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.5.4.11 NAME ( 'ou' 'organizationalUnitName' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.5.4.36 NAME 'userCertificate' EQUALITY certificateExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.8 )
( 2.5.4.37 NAME 'cACertificate' EQUALITY certificateExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.8 )
( 2.5.4.38 NAME 'authorityRevocationList' SYNTAX 1.3.6.1.4.1.1466.115.121.1.9 )
( 2.5.4.39 NAME 'certificateRevocationList' SYNTAX 1.3.6.1.4.1.1466.115.121.1.9 )
( 2.5.4.53 NAME 'deltaRevocationList' SYNTAX 1.3.6.1.4.1.1466.115.121.1.9 )
( 0.9.2342.19200300.100.1.3 NAME ( 'mail' 'rfc822Mailbox' ) EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
( 2.999.1.3.1 NAME 'hufuCertificateStatus' DESC 'serial, good or revoked, reason, time' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
( 2.999.1.3.2 NAME 'hufuProfile' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
`

const objectClasses = `
( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )
( 2.5.6.2 NAME 'country' SUP top STRUCTURAL MUST c )
( 2.5.6.4 NAME 'organization' SUP top STRUCTURAL MUST o )
( 2.5.6.5 NAME 'organizationalUnit' SUP top STRUCTURAL MUST ou )
( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) )
( 2.5.6.7 NAME 'organizationalPerson' SUP person STRUCTURAL MAY ( ou $ st $ l ) )
( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP organizationalPerson STRUCTURAL MAY ( mail $ o $ userCertificate ) )
( 2.5.6.11 NAME 'applicationProcess' SUP top STRUCTURAL MUST cn MAY ( ou $ l ) )
( 2.5.6.19 NAME 'cRLDistributionPoint' SUP top STRUCTURAL MUST cn MAY ( certificateRevocationList $ authorityRevocationList $ deltaRevocationList ) )
( 2.5.6.21 NAME 'pkiUser' SUP top AUXILIARY MAY userCertificate )
( 2.5.6.22 NAME 'pkiCA' SUP top AUXILIARY MAY ( cACertificate $ certificateRevocationList $ authorityRevocationList ) )
( 2.5.6.23 NAME 'deltaCRL' SUP top AUXILIARY MAY deltaRevocationList )
( 2.999.1.3.3 NAME 'hufuCertificateHolder' SUP top AUXILIARY MAY ( serialNumber $ hufuCertificateStatus $ hufuProfile $ c $ o ) )
`
