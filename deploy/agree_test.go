package deploy_test

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/shoal-mesh/shoal/node/config"
)

// An inspector gathers what is wrong with the manifests.
type inspector struct {
	*manifests
	pod   corev1.PodSpec
	agent corev1.Container
	cfg   *config.Config
	found []string
}

// problems returns what is wrong with the manifests: one line each.
func (m *manifests) problems() []string {
	pod := m.Agents.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		return []string{fmt.Sprintf("daemonset.yaml has %d containers, want the agent alone", len(pod.Containers))}
	}
	in := &inspector{manifests: m, pod: pod, agent: pod.Containers[0]}
	cfg, err := config.Parse("configmap.yaml", []byte(m.Config.Data["shoal.yaml"]), in.getenv)
	if err != nil {
		return []string{err.Error()}
	}
	in.cfg = cfg
	in.names()
	in.ports()
	in.probes()
	in.directories()
	in.secrets()
	in.reader()
	in.memory()
	return in.found
}

// want notes a problem unless ok.
func (in *inspector) want(ok bool, format string, args ...any) {
	if !ok {
		in.found = append(in.found, fmt.Sprintf(format, args...))
	}
}

// getenv knows the variables the DaemonSet sets.
func (in *inspector) getenv(name string) (string, bool) {
	for _, e := range in.agent.Env {
		switch {
		case e.Name != name:
		case e.ValueFrom != nil && e.ValueFrom.FieldRef.FieldPath == "status.hostIP":
			return "10.0.0.5", true
		case e.ValueFrom != nil:
			return "gpu-1", true
		default:
			return e.Value, true
		}
	}
	return "", false
}

// names checks what finds what by its name or labels.
func (in *inspector) names() {
	for kind, namespace := range map[string]string{
		"Secret": in.Secret.Namespace, "ConfigMap": in.Config.Namespace,
		"Service": in.Service.Namespace, "DaemonSet": in.Agents.Namespace,
	} {
		in.want(namespace == in.Namespace.Name, "the %s is in the namespace %q, want %q", kind, namespace, in.Namespace.Name)
	}
	template := labels.Set(in.Agents.Spec.Template.Labels)
	in.want(labels.SelectorFromSet(in.Agents.Spec.Selector.MatchLabels).Matches(template), "the DaemonSet does not select its own pods")
	in.want(labels.SelectorFromSet(in.Service.Spec.Selector).Matches(template), "the Service does not select the agents")
	in.want(in.Service.Spec.ClusterIP == corev1.ClusterIPNone, "the Service is not headless")
	in.want(in.Service.Spec.PublishNotReadyAddresses, "the Service has not publishNotReadyAddresses, so agents that start together do not find one another")
	service := fmt.Sprintf("%s.%s.svc:%d", in.Service.Name, in.Service.Namespace, port(in.cfg.Listen.Gossip))
	in.want(slices.Contains(in.cfg.Cluster.Join, service), "join: %q has not the Service's %s", in.cfg.Cluster.Join, service)
	in.want(in.pod.HostNetwork == (in.pod.DNSPolicy == corev1.DNSClusterFirstWithHostNet), "dnsPolicy %s does not resolve the Service on the node's network", in.pod.DNSPolicy)
}

// ports checks that the config, the container and the Service tell the same ports.
func (in *inspector) ports() {
	type listener struct {
		name     string
		protocol corev1.Protocol
		port     int32
	}
	want := []listener{
		{"gossip-tcp", corev1.ProtocolTCP, port(in.cfg.Listen.Gossip)},
		{"gossip-udp", corev1.ProtocolUDP, port(in.cfg.Listen.Gossip)},
		{"peer", corev1.ProtocolTCP, port(in.cfg.Listen.Peer)},
		{"admin", corev1.ProtocolTCP, port(in.cfg.Listen.Admin)},
	}
	var container, service []listener
	for _, p := range in.agent.Ports {
		container = append(container, listener{p.Name, p.Protocol, p.ContainerPort})
	}
	for _, p := range in.Service.Spec.Ports {
		service = append(service, listener{p.Name, p.Protocol, p.Port})
	}
	in.want(slices.Equal(container, want), "the container's ports are %v, want the config's %v", container, want)
	in.want(slices.Equal(service, want), "the Service's ports are %v, want the config's %v", service, want)
}

// probes checks that the kubelet asks where the admin API answers.
func (in *inspector) probes() {
	for path, probes := range map[string][]*corev1.Probe{
		"/healthz": {in.agent.StartupProbe, in.agent.LivenessProbe},
		"/readyz":  {in.agent.ReadinessProbe},
	} {
		for _, p := range probes {
			ok := p != nil && p.HTTPGet != nil && p.HTTPGet.Path == path && p.HTTPGet.Port.StrVal == "admin"
			in.want(ok, "a probe does not ask for %s at the port admin: %v", path, p)
		}
	}
}

// directories checks that what the agent keeps or shows lies on the right volume.
func (in *inspector) directories() {
	for _, d := range in.cfg.Cache {
		_, volume := in.volumeOf(d.Path)
		in.want(volume.HostPath != nil, "the cache %s is not on the node's disk", d.Path)
	}
	_, volume := in.volumeOf(in.cfg.State)
	in.want(volume.HostPath != nil, "the state %s is not on the node's disk", in.cfg.State)

	for _, at := range in.cfg.Mount.Paths() {
		mount, volume := in.volumeOf(at)
		in.want(volume.HostPath != nil && mount.MountPath == path.Dir(at), "the mount %s is not right below a directory of the node", at)
		both := mount.MountPropagation != nil && *mount.MountPropagation == corev1.MountPropagationBidirectional
		in.want(both, "the volume of %s is not Bidirectional, so no pod sees the mount", at)
	}
	privileged := in.agent.SecurityContext != nil && in.agent.SecurityContext.Privileged != nil && *in.agent.SecurityContext.Privileged
	in.want(privileged, "the agent is not privileged, which Bidirectional needs")
	in.want(in.cfg.Mount.AllowOther, "mount.allow_other is false, so no pod reads the mount")

	mount, volume := in.volumeOf(in.cfg.Admin.Socket)
	in.want(volume.EmptyDir != nil && mount.MountPath == path.Dir(in.cfg.Admin.Socket), "admin.socket %s is in no writable directory of its own", in.cfg.Admin.Socket)

	file := argument(in.agent.Args, "--config")
	mount, volume = in.volumeOf(file)
	ok := volume.ConfigMap != nil && volume.ConfigMap.Name == in.Config.Name && in.Config.Data[strings.TrimPrefix(file, mount.MountPath+"/")] != ""
	in.want(ok, "--config %q is not in the ConfigMap", file)
}

// secrets checks that each file the config names is a key of the Secret.
func (in *inspector) secrets() {
	files := []string{in.cfg.Cluster.SecretFile, in.cfg.Admin.TokenFile}
	for _, m := range in.cfg.Namespace {
		files = append(files, m.S3.AccessKeyFile, m.S3.SecretKeyFile)
	}
	for _, file := range files {
		mount, volume := in.volumeOf(file)
		if volume.Secret == nil || volume.Secret.SecretName != in.Secret.Name {
			in.want(false, "%s is not in the Secret", file)
			continue
		}
		in.want(in.Secret.StringData[strings.TrimPrefix(file, mount.MountPath+"/")] != "", "the Secret has no key for %s", file)
		in.want(volume.Secret.DefaultMode != nil && *volume.Secret.DefaultMode == 0o400, "defaultMode of the Secret's volume is not 0400")
	}
}

// reader checks that the example pod sees the agents' mount, also after a restart.
func (in *inspector) reader() {
	_, agents := in.volumeOf(in.cfg.Mount.Path)
	pod := in.Reader.Spec
	if len(pod.Volumes) != 1 || len(pod.Containers) != 1 || len(pod.Containers[0].VolumeMounts) != 1 {
		in.want(false, "the reader has not one container with one volume")
		return
	}
	host := pod.Volumes[0].HostPath
	in.want(host != nil && agents.HostPath != nil && host.Path == agents.HostPath.Path, "the reader's volume is not the agents' mount")
	propagation := pod.Containers[0].VolumeMounts[0].MountPropagation
	in.want(propagation != nil && *propagation == corev1.MountPropagationHostToContainer, "the reader's volume is not HostToContainer")
}

// memory checks that Go's own limit lies below the kernel's.
func (in *inspector) memory() {
	text, _ := in.getenv("GOMEMLIMIT")
	quantity, err := resource.ParseQuantity(strings.TrimSuffix(text, "B"))
	limit := in.agent.Resources.Limits.Memory()
	in.want(err == nil && quantity.Cmp(*limit) < 0, "GOMEMLIMIT %q is not below the memory limit %s", text, limit)
}

// volumeOf returns the volume that file, a path in the container, lies on; two empty
// values if none.
func (in *inspector) volumeOf(file string) (corev1.VolumeMount, corev1.Volume) {
	var mount corev1.VolumeMount
	for _, m := range in.agent.VolumeMounts {
		if strings.HasPrefix(file, m.MountPath+"/") || file == m.MountPath {
			mount = m
		}
	}
	for _, v := range in.pod.Volumes {
		if v.Name == mount.Name {
			return mount, v
		}
	}
	return corev1.VolumeMount{}, corev1.Volume{}
}

// argument returns what follows name in args.
func argument(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// port returns the port of "host:port".
func port(address string) int32 {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}
