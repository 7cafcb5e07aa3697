// Command kubectl is the upstream kubectl, built from its public module: the tests hand it our kubeconfigs.
package main

import (
	"os"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // the authentication plugins of the released binary
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args)) // -v counts before the flags are parsed
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
