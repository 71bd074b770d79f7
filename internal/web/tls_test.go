package web

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// certificate makes a certificate for localhost.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return write(t, string(certPEM), 0o644), write(t, string(keyPEM), 0o600), roots
}

// The files are read when the site begins to listen, and not again.
func TestTLS(t *testing.T) {
	certFile, keyFile, roots := certificate(t)
	s := serve(t, Config{CertFile: certFile, KeyFile: keyFile}, Program{}, nil)
	if err := errors.Join(os.Remove(certFile), os.Remove(keyFile)); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}}
	answer, err := client.Get("https://" + s.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 1 {
		t.Errorf("%s with %s", answer.Status, answer.Proto)
	}
	line, _ := bufio.NewReader(raw(t, s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")).ReadString('\n') // the connection ends
	if !strings.HasPrefix(line, "HTTP/1.0 400") {
		t.Errorf("without TLS: %q", line)
	}
	old := &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if c, err := tls.Dial("tcp", s.Addr().String(), old); err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

func TestTLSFiles(t *testing.T) {
	certFile, _, _ := certificate(t)
	_, otherKey, _ := certificate(t)
	for name, key := range map[string]string{"the key of another": otherKey, "no key": "/nonexistent", "not a key": certFile} {
		cfg := Config{Address: netip.MustParseAddrPort("127.0.0.1:0"), CertFile: certFile, KeyFile: key}
		if _, err := Listen(cfg); err == nil || !strings.Contains(err.Error(), certFile) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
