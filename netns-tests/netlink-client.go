// Two Go clients of the field: moby/ipvs, as kube-proxy and Docker use it (a blocking socket with a limit of time), and
// mdlayher/genetlink (a socket that never waits, read when the runtime's edge-triggered epoll says so).
//
// usage: netlink-client VIP REAL -- a director without services runs, and this program runs under `tapvs exec`.
package main

import (
	"errors"
	"log"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/moby/ipvs"
)

const (
	getService, getInfo = 4, 15
	sockets, services   = 8, 20
)

func check(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func expect(ok bool, what string, got any) {
	if !ok {
		log.Fatalf("%s: got %+v", what, got)
	}
}

func service(vip net.IP, port uint16) *ipvs.Service {
	return &ipvs.Service{Address: vip, Protocol: syscall.IPPROTO_TCP, Port: port, SchedName: "rr", Netmask: 0xffffffff,
		AddressFamily: syscall.AF_INET}
}

func server(real net.IP, weight int) *ipvs.Destination {
	return &ipvs.Destination{Address: real, Port: 8080, Weight: weight, ConnectionFlags: ipvs.ConnectionFlagMasq,
		AddressFamily: syscall.AF_INET, UpperThreshold: 100, LowerThreshold: 50}
}

// Everything that moby/ipvs can do, from one thread.
func everything(handle *ipvs.Handle, vip, real net.IP) {
	web := service(vip, 80)
	check(handle.NewService(web), "a new service")
	expect(errors.Is(handle.NewService(web), syscall.EEXIST), "a service twice", handle.NewService(web))
	check(handle.NewDestination(web, server(real, 1)), "a new server")
	check(handle.UpdateDestination(web, server(real, 7)), "a changed server")
	web.SchedName, web.Flags, web.Timeout = "wrr", 1, 120
	check(handle.UpdateService(web), "a changed service")
	found, err := handle.GetService(web)
	check(err, "one service")
	expect(found.Address.Equal(vip) && found.Port == 80 && found.SchedName == "wrr" && found.Timeout == 120, "one service", found)
	servers, err := handle.GetDestinations(web)
	check(err, "its servers")
	expect(len(servers) == 1 && servers[0].Address.Equal(real) && servers[0].Weight == 7 && servers[0].UpperThreshold == 100,
		"its servers", servers)
	check(handle.SetConfig(&ipvs.Config{TimeoutTCP: 100 * time.Second, TimeoutUDP: 30 * time.Second}), "timeouts")
	config, err := handle.GetConfig()
	check(err, "timeouts")
	expect(config.TimeoutTCP == 100*time.Second && config.TimeoutUDP == 30*time.Second, "timeouts", config)
	expect(!handle.IsServicePresent(service(vip, 81)), "a service that is not there", nil)
	check(handle.DelDestination(web, server(real, 7)), "a server less")
	check(handle.DelService(web), "a service less")
	expect(errors.Is(handle.DelService(web), syscall.ESRCH), "a service that is gone", handle.DelService(web))
}

// Many goroutines, which the runtime moves from thread to thread, each with a socket of its own.
func together(vip, real net.IP) {
	var all sync.WaitGroup
	for number := 0; number < sockets; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			handle, err := ipvs.New("")
			check(err, "a handle")
			defer handle.Close()
			for turn := 0; turn < services; turn++ {
				one := service(vip, uint16(1000+number*services+turn))
				check(handle.NewService(one), "a service among many")
				check(handle.NewDestination(one, server(real, number)), "a server among many")
			}
		}(number)
	}
	all.Wait()
}

// A socket that never waits: what is sent is answered some time later, and until then goroutines share its thread.
func asynchronously(wanted int) {
	conn, err := genetlink.Dial(nil)
	check(err, "a socket that does not wait")
	defer conn.Close()
	family, err := conn.GetFamily("IPVS")
	check(err, "the family")
	expect(family.Version == 1, "the family", family)
	for turn := 0; turn < 50; turn++ {
		answers, err := conn.Execute(genetlink.Message{Header: genetlink.Header{Command: getInfo, Version: 1}}, family.ID, netlink.Request)
		check(err, "the version")
		expect(len(answers) == 1 && len(answers[0].Data) == 16, "the version", answers)
	}
	list := genetlink.Message{Header: genetlink.Header{Command: getService, Version: 1}}
	answers, err := conn.Execute(list, family.ID, netlink.Request|netlink.Dump)
	check(err, "a list")
	expect(len(answers) == wanted, "services in the list", len(answers))

	// The runtime parks the goroutine that reads until a deadline, or until another one closes the socket.
	check(conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)), "a deadline")
	_, _, err = conn.Receive()
	expect(errors.Is(err, os.ErrDeadlineExceeded), "a deadline", err)
	check(conn.SetReadDeadline(time.Time{}), "no deadline")
	heard := make(chan error)
	go func() {
		_, _, err := conn.Receive()
		heard <- err
	}()
	_, err = conn.Send(list, family.ID, netlink.Request|netlink.Dump)
	check(err, "a question from another goroutine")
	check(<-heard, "its answer")
	families, err := conn.ListFamilies()
	check(err, "all families")
	expect(len(families) > 1, "the kernel's families too", families)
}

func main() {
	log.SetFlags(0)
	vip, real := net.ParseIP(os.Args[1]).To4(), net.ParseIP(os.Args[2]).To4()
	handle, err := ipvs.New("")
	check(err, "a handle")
	everything(handle, vip, real)
	together(vip, real)
	found, err := handle.GetServices()
	check(err, "all services")
	expect(len(found) == sockets*services, "services", len(found))
	var all sync.WaitGroup
	for number := 0; number < sockets; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			asynchronously(sockets * services)
		}()
	}
	all.Wait()
	check(handle.Flush(), "no services")
	check(handle.NewService(service(vip, 80)), "the last service")
	log.Print("all is well")
}
