package enroll

// Duty is a decision that the status service is to have a new key for answers
// about what one CA issued. (状态查询响应密钥)
type Duty struct {
	ID   string `json:"id"`   // of the proposal
	Root bool   `json:"root"` // about what the root issued; the operating CA otherwise
}

type duties struct {
	Duties []Duty `json:"duties"`
}

// Responder asks for a certificate for signing OCSP. The core gives one to keys
// that had one before, and to one new key for each duty.
type Responder struct {
	Duty   string `json:"duty,omitempty"` // that the key was made for; empty for a renewal
	Issuer []byte `json:"issuer"`         // key identifier of the CA
	CSR    []byte `json:"csr"`            // DER; proves possession, its subject is not looked at
}
