// Command certnames prints who a client certificate is to kube-apiserver, on the verifier that kube-apiserver uses.
//
//	certnames [-ca ROOTS.pem [-intermediates CAS.pem] [-at RFC3339]] CERT.pem
//
// Of CERT.pem the first certificate counts, as in a client's handshake; those after it are offered as intermediates.
// With -ca the chain is verified as kube-apiserver does: client authentication wanted, at the time of -at or now.
// It prints one JSON object {"user", "groups", "uid"?, "credential_id", "serial", "not_before", "not_after", "verified"}.
// Exit status: 0 read (and verified, where asked), 1 refused or unreadable with the reason on standard error, 2 wrong usage.
package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// uidAttribute is the subject attribute that kube-apiserver reads a UID from (on by default since Kubernetes 1.33).
var uidAttribute = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

// names is the answer; groups is never null.
type names struct {
	User         string    `json:"user"`
	Groups       []string  `json:"groups"`
	UID          string    `json:"uid,omitempty"`
	CredentialID string    `json:"credential_id"`
	Serial       string    `json:"serial"`
	NotBefore    time.Time `json:"not_before"`
	NotAfter     time.Time `json:"not_after"`
	Verified     bool      `json:"verified"`
}

func main() {
	ca := flag.String("ca", "", "PEM file of the certificates to trust, as in --client-ca-file")
	intermediates := flag.String("intermediates", "", "PEM file of further certificates to build the chain with")
	at := flag.String("at", "", "verify at this RFC 3339 time instead of now")
	flag.Parse()
	if flag.NArg() != 1 || (*ca == "" && (*intermediates != "" || *at != "")) {
		fmt.Fprintln(os.Stderr, "usage: certnames [-ca ROOTS.pem [-intermediates CAS.pem] [-at RFC3339]] CERT.pem")
		os.Exit(2)
	}
	answer, err := run(flag.Arg(0), *ca, *intermediates, *at)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "certnames:", err)
		os.Exit(1)
	}
}

func run(path, ca, intermediates, at string) (*names, error) {
	presented, err := certificates(path)
	if err != nil {
		return nil, err
	}
	leaf := presented[0]
	if ca != "" {
		if err := verify(presented, ca, intermediates, at); err != nil {
			return nil, err
		}
	}
	return read(leaf, ca != "")
}

// verify asks what kube-apiserver asks of a presented chain.
func verify(presented []*x509.Certificate, ca, intermediates, at string) error {
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	roots, err := certificates(ca)
	if err != nil {
		return err
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	further := presented[1:]
	if intermediates != "" {
		more, err := certificates(intermediates)
		if err != nil {
			return err
		}
		further = append(further, more...)
	}
	for _, certificate := range further {
		options.Intermediates.AddCert(certificate)
	}
	if at != "" {
		if options.CurrentTime, err = time.Parse(time.RFC3339, at); err != nil {
			return err
		}
	}
	_, err = presented[0].Verify(options)
	return err
}

// read takes user, groups, UID and credential ID from the leaf as kube-apiserver's x509 authenticator does.
func read(leaf *x509.Certificate, verified bool) (*names, error) {
	if leaf.Subject.CommonName == "" {
		return nil, errors.New("the subject has no common name: kube-apiserver takes this for no user at all")
	}
	uid, err := uid(leaf)
	if err != nil {
		return nil, err
	}
	return &names{
		User:         leaf.Subject.CommonName,
		Groups:       append([]string{}, leaf.Subject.Organization...),
		UID:          uid,
		CredentialID: fmt.Sprintf("X509SHA256=%x", sha256.Sum256(leaf.Raw)),
		Serial:       fmt.Sprintf("%040x", leaf.SerialNumber),
		NotBefore:    leaf.NotBefore.UTC(),
		NotAfter:     leaf.NotAfter.UTC(),
		Verified:     verified,
	}, nil
}

func uid(leaf *x509.Certificate) (string, error) {
	var found []string
	for _, attribute := range leaf.Subject.Names {
		if attribute.Type.Equal(uidAttribute) {
			value, ok := attribute.Value.(string)
			if !ok || value == "" {
				return "", errors.New("the UID attribute of the subject is empty or no string")
			}
			found = append(found, value)
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("the subject has %d UID attributes, wanted one at most", len(found))
	}
}

// certificates reads every certificate of a PEM file, at least one; anything else in the file is refused, but for
// private keys, which a bundle may hold beside its certificates.
func certificates(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			all = append(all, certificate)
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
		default:
			return nil, fmt.Errorf("%s: wanted CERTIFICATE blocks, found %q", path, block.Type)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no CERTIFICATE block", path)
	}
	return all, nil
}
