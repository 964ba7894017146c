#!/usr/bin/env bash
# A cluster in Docker with Lagcast, something to scale, and Grafana: what `make kind-demo` runs. Needs docker, kind 0.30
# and kubectl. IMAGE and DEMO_IMAGE are there already, as `make image` and `make demo-image` build them.
set -euo pipefail
cd "$(dirname "$0")/../.."

image=${IMAGE:-lagcast:0.1.0}
demo_image=${DEMO_IMAGE:-lagcast-demo:0.1.0}
cluster=lagcast
context=kind-$cluster

for program in docker kind kubectl; do
  if ! command -v "$program" >/dev/null 2>&1; then
    echo "$program is not on PATH: install it" >&2
    exit 1
  fi
done

if ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
  kind create cluster --config manifests/kind/cluster.yaml --wait 120s
fi
# The names that the manifests use.
docker tag "$image" lagcast:0.1.0
docker tag "$demo_image" lagcast-demo:0.1.0
kind load docker-image --name "$cluster" lagcast:0.1.0 lagcast-demo:0.1.0

kubectl --context "$context" apply --server-side -k manifests/crd
kubectl --context "$context" wait --for=condition=Established --timeout=60s \
  crd/predictivescalers.lagcast.io crd/gpunodepools.lagcast.io
kubectl --context "$context" apply --server-side -k manifests/kind
kubectl --context "$context" -n demo rollout status --timeout=300s deployment/kafka deployment/load
kubectl --context "$context" -n lagcast-system rollout status --timeout=300s deployment/lagcast
kubectl --context "$context" -n lagcast-system rollout status --timeout=300s deployment/prometheus
kubectl --context "$context" -n lagcast-system rollout status --timeout=300s deployment/grafana

cat <<END

Grafana:   kubectl --context $context -n lagcast-system port-forward svc/grafana 3000    then http://127.0.0.1:3000
The plan:  kubectl --context $context -n demo get predictivescalers --watch
The end:   kind delete cluster --name $cluster
END
