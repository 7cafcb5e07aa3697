// Command etcd is the upstream etcd in the version that this kube-apiserver's module asks for: the API server's store.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
