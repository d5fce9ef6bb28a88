// A vCenter to test against: govmomi's simulator behind a handler that tells each request on standard output.
package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
)

var action = regexp.MustCompile(`Body>\s*<(?:\w+:)?(\w+)`)

// slow are the methods that a vCenter answers with a task: an operation takes as long as one of them.
var slow = []string{"CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "ReconfigVM_Task", "Destroy_Task", "CreateVirtualDisk_Task",
	"DeleteVirtualDisk_Task", "CopyVirtualDisk_Task", "MoveVirtualDisk_Task", "CreateSnapshot_Task", "ResetVM_Task", "ImportVApp"}

func main() {
	user := flag.String("user", "caisson", "who may log in")
	certificate := flag.String("cert", "", "PEM file of the certificate; without one it speaks plain HTTP")
	key := flag.String("key", "", "PEM file of its key")
	clusters := flag.Int("clusters", 2, "how many clusters")
	datastores := flag.Int("datastores", 2, "how many datastores")
	memory := flag.Int64("memory", 0, "MiB of memory that each cluster has; without it what the library gives, less than 1 GiB")
	space := flag.Int64("space", 16<<20, "MiB that each datastore has; the simulator gives back little of what deleted machines had")
	latency := flag.Duration("latency", 0, "how long each operation takes")
	idle := flag.Duration("idle", 0, "sessions end after this long without a request")
	flag.Parse()

	model := simulator.VPX()
	defer model.Remove()
	model.Datacenter, model.Cluster, model.ClusterHost, model.Host, model.Machine = 1, *clusters, 2, 0, 1
	model.Datastore, model.Portgroup, model.OpaqueNetwork = *datastores, 2, 1
	simulator.SessionIdleTimeout = *idle
	model.DelayConfig.MethodDelay = map[string]int{}
	for _, method := range slow {
		model.DelayConfig.MethodDelay[method] = int(*latency / time.Millisecond)
	}
	check(model.Create())
	if *memory > 0 {
		for _, pool := range simulator.Map.All("ResourcePool") {
			pool.(*simulator.ResourcePool).Runtime.Memory.MaxUsage = *memory << 20
		}
	}
	for _, store := range simulator.Map.All("Datastore") {
		store.(*simulator.Datastore).Summary.FreeSpace = *space << 20
		store.(*simulator.Datastore).Summary.Capacity = *space << 20
	}
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, os.Getenv("VCENTER_PASSWORD"))}
	inner := model.Service.NewServer()
	defer inner.Close()

	handler := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		what := request.URL.Path
		if request.Method == http.MethodPost && request.URL.Path != "" && request.Header.Get("Soapaction") != "" {
			body, err := io.ReadAll(request.Body)
			if err != nil {
				return
			}
			request.Body = io.NopCloser(bytes.NewReader(body))
			if found := action.FindSubmatch(body); found != nil {
				what = string(found[1])
			}
		}
		fmt.Printf("request %s %s\n", request.Method, what)
		model.Service.ServeMux.ServeHTTP(answer, request)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		check(err)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	fmt.Printf("listening %s\n", listener.Addr())
	go func() { // ends with whoever started it, however that ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		model.Remove()
		os.Exit(0)
	}()
	check(http.Serve(listener, handler))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
