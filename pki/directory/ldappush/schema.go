package ldappush

// Schema is what an OpenLDAP server includes beside its core, cosine and
// inetorgperson schemas before we can publish into it. The identifiers are
// examples until an arc is assigned (docs/adr/0008).
const Schema = `# 虎符目录条目的属性与对象类，放在 core、cosine、inetorgperson 之后。
attributetype ( 2.999.1.3.1 NAME 'hufuCertificateStatus' DESC 'serial, good or revoked, reason, time' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 2.999.1.3.2 NAME 'hufuProfile' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 2.999.1.3.3 NAME 'hufuCertificateHolder' SUP top AUXILIARY MAY ( serialNumber $ hufuCertificateStatus $ hufuProfile $ c $ o ) )
`
