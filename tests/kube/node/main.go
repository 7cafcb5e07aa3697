// Command node stands in for a kubelet: it runs nothing, and carries what kubectl exec, logs and port-forward carry.
//
// A command says "ready", then gives back what it reads, and does not end if it is called wait; a log has one line and
// does not end while it is followed; a forwarded port gives back what comes. It listens on a port of loopback and says
// "listening on" it.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

func main() {
	certificate, err := selfSigned()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", exec)
	mux.HandleFunc("/portForward/{namespace}/{pod}", forward)
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", logs)
	fmt.Fprintf(os.Stderr, "listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	log.Fatal(server.ServeTLS(listener, "", ""))
}

func exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, pod{}, r.PathValue("pod"), "", r.PathValue("container"), r.Form["command"], options,
		patience, patience, remotecommand.SupportedStreamingProtocols)
}

func forward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, pod{}, r.PathValue("pod"), "", options, patience, patience,
		portforward.SupportedProtocols)
}

func logs(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "ready")
	if r.FormValue("follow") == "true" {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// pod is what every name stands for here.
type pod struct{}

func (pod) ExecInContainer(_ context.Context, _, _, _ string, command []string, in io.Reader, out, _ io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	_, err := fmt.Fprintln(out, "ready")
	if in != nil && err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil && command[0] == "wait" {
		select {} // until this program is ended
	}
	return err
}

func (pod) PortForward(_ context.Context, _, _ string, _ int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	_, err := io.Copy(stream, stream)
	return err
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(day)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

const (
	day      = 24 * time.Hour
	patience = time.Minute
)
