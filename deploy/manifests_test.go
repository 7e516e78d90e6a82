// Package deploy_test checks the manifests beside it: each decodes strictly as the type of
// the Kubernetes API it says it is, the agents' config file is one, and what is said twice,
// such as a port or a path, is said the same.
package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// manifests are the objects of this directory.
type manifests struct {
	Namespace corev1.Namespace
	Secret    corev1.Secret
	Config    corev1.ConfigMap
	Service   corev1.Service
	Agents    appsv1.DaemonSet
	Reader    corev1.Pod
}

// decode puts the manifest text into its place in m.
func (m *manifests) decode(text []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return err
	}
	places := map[string]any{
		"v1 Namespace":      &m.Namespace,
		"v1 Secret":         &m.Secret,
		"v1 ConfigMap":      &m.Config,
		"v1 Service":        &m.Service,
		"apps/v1 DaemonSet": &m.Agents,
		"v1 Pod":            &m.Reader,
	}
	place, ok := places[kind.APIVersion+" "+kind.Kind]
	if !ok {
		return fmt.Errorf("no place for a %s %s", kind.APIVersion, kind.Kind)
	}
	return yaml.UnmarshalStrict(text, place)
}

// read returns the manifests, after edit, which may be nil, has changed the text of each.
func read(t *testing.T, edit func(text string) string) *manifests {
	t.Helper()
	names, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := &manifests{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			text = []byte(edit(string(text)))
		}
		if err := m.decode(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, object := range map[string]string{
		"namespace.yaml": m.Namespace.Name, "secret.yaml": m.Secret.Name, "configmap.yaml": m.Config.Name,
		"service.yaml": m.Service.Name, "daemonset.yaml": m.Agents.Name, "example-reader.yaml": m.Reader.Name,
	} {
		if object == "" {
			t.Fatalf("%s: not read", name)
		}
	}
	return m
}

func TestManifestsAgree(t *testing.T) {
	for _, problem := range read(t, nil).problems() {
		t.Error(problem)
	}
}

// TestProblemsAreFound changes the manifests in ways that must not pass.
func TestProblemsAreFound(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string // part of a problem
	}{
		{"config", "policy: auto\n", "", ""}, // nothing changes: no problem
		{"config unknown field", "node_name:", "nodename:", "unknown field"},
		{"variable not set", "- name: HOST_IP", "- name: NODE_IP", "HOST_IP"},
		{"gossip port", `gossip: ":7946"`, `gossip: ":7956"`, "gossip"},
		{"peer port", "{name: peer, port: 7947", "{name: peer, port: 7957", "peer"},
		{"admin port", "{name: admin, containerPort: 7948", "{name: admin, containerPort: 7949", "admin"},
		{"probe port", "httpGet: {path: /healthz, port: admin}", "httpGet: {path: /healthz, port: 80}", "probe"},
		{"probe path", "path: /readyz", "path: /ready", "probe"},
		{"join", "shoal-agents.shoal.svc:7946", "shoal.shoal.svc:7946", "join"},
		{"service waits for readiness", "publishNotReadyAddresses: true", "publishNotReadyAddresses: false", "publishNotReadyAddresses"},
		{"service has an address", "clusterIP: None", "clusterIP: 10.0.0.1", "headless"},
		{"selector", "app.kubernetes.io/component: agent\n  ports:", "app.kubernetes.io/component: x\n  ports:", "select"},
		{"namespace", "kind: Secret\nmetadata:\n  name: shoal-agents\n  namespace: shoal", "kind: Secret\nmetadata:\n  name: shoal-agents\n  namespace: other", "namespace"},
		{"cache on the node", "{path: /var/lib/shoal/cache, size", "{path: /var/cache, size", "cache"},
		{"mount seen by others", "mountPropagation: Bidirectional", "mountPropagation: HostToContainer", "Bidirectional"},
		{"not privileged", "privileged: true", "privileged: false", "privileged"},
		{"mount point itself", "mountPath: /mnt/shoal, mountPropagation: Bidirectional", "mountPath: /mnt/shoal/data, mountPropagation: Bidirectional", "/mnt/shoal/data is not right below"},
		{"others may not read", "allow_other: true", "allow_other: false", "allow_other"},
		{"secret key", "admin-token:", "token:", "admin-token"},
		{"secret path", "mountPath: /etc/shoal/secret", "mountPath: /etc/secret", "cluster-secret"},
		{"secret for all", "defaultMode: 0400", "defaultMode: 0444", "defaultMode"},
		{"secret name", "secretName: shoal-agents", "secretName: shoal", "Secret"},
		{"config path", "/etc/shoal/config/shoal.yaml\"]", "/etc/shoal/shoal.yaml\"]", "--config"},
		{"socket", "mountPath: /run/shoal}", "mountPath: /run}", "admin.socket"},
		{"reader propagation", "mountPropagation: HostToContainer", "mountPropagation: None", "HostToContainer"},
		{"reader path", "hostPath: {path: /mnt/shoal, type: Directory}", "hostPath: {path: /mnt/other, type: Directory}", "reader"},
		{"dns", "dnsPolicy: ClusterFirstWithHostNet", "dnsPolicy: ClusterFirst", "dnsPolicy"},
		{"memory", "value: 3500MiB", "value: 5000MiB", "GOMEMLIMIT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := false
			m := read(t, func(text string) string {
				found = found || strings.Contains(text, tt.old)
				return strings.ReplaceAll(text, tt.old, tt.new)
			})
			if tt.want != "" && !found {
				t.Fatalf("no manifest has %q", tt.old)
			}
			got := strings.Join(m.problems(), "\n")
			if !strings.Contains(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("problems with %q for %q = %q, want %q", tt.new, tt.old, got, tt.want)
			}
		})
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Service\nmetadata: {nam: x}",
		"apiVersion: v1\nkind: Service\nmetadata: {name: x, name: y}",
		"apiVersion: v1\nkind: Service\nspec: {ports: [{port: x}]}",
		"apiVersion: v2\nkind: Service",
		"kind: [",
	} {
		if err := new(manifests).decode([]byte(text)); err == nil {
			t.Errorf("decode(%q) = nil, want an error", text)
		}
	}
}

// TestDockerfile holds the image's Go to the one go.mod names.
func TestDockerfile(t *testing.T) {
	read := func(name, pattern string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no %s", name, pattern)
		}
		return string(found[1])
	}
	image := read("Dockerfile", `(?m)^FROM golang:(\d+\.\d+) `)
	module := read("../go.mod", `(?m)^go (\d+\.\d+)`)
	if image != module {
		t.Errorf("the Dockerfile builds with Go %s, want go.mod's %s", image, module)
	}
}
