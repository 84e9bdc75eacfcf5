"""For each kind of the later groups the smallest object that is allowed, as JSON, but for its metadata."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Json = dict[str, Any]
LABELS: Json = {"app": "web"}
POD: Json = {"containers": [{"name": "main", "image": "registry.test/web:v1"}]}
TEMPLATE: Json = {"metadata": {"labels": LABELS}, "spec": POD}
JOB_TEMPLATE: Json = {"spec": {**POD, "restartPolicy": "Never"}}
CLAIM: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
BACKEND: Json = {"service": {"name": "web", "port": {"number": 80}}}
ROLE_REF: Json = {"kind": "ClusterRole", "name": "view"}


def signing_request() -> str:
    """A request for a certificate, in base64."""
    import base64

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    pem = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode()


SMALLEST: dict[str, Json] = {
    "replicationcontrollers": {"spec": {"template": TEMPLATE}},
    "podtemplates": {"template": TEMPLATE},
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    "resourcequotas": {"spec": {"hard": {"pods": "10", "requests.cpu": "2", "count/jobs.batch": "3"}}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}},
    "persistentvolumes": {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
        }
    },
    "persistentvolumeclaims": {"spec": CLAIM},
    "statefulsets.apps": {"spec": {"selector": {"matchLabels": LABELS}, "serviceName": "web", "template": TEMPLATE}},
    "daemonsets.apps": {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
    "controllerrevisions.apps": {"data": {"spec": {}}, "revision": 1},
    "jobs.batch": {"spec": {"template": JOB_TEMPLATE}},
    "cronjobs.batch": {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
    "horizontalpodautoscalers.autoscaling": {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}
    },
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}},
    "priorityclasses.scheduling.k8s.io": {"value": 1000},
    "storageclasses.storage.k8s.io": {"provisioner": "example.com/disk"},
    "volumeattachments.storage.k8s.io": {
        "spec": {"attacher": "csi.example.com", "nodeName": "n1", "source": {"persistentVolumeName": "pv"}}
    },
    "csidrivers.storage.k8s.io": {"spec": {}},
    "csinodes.storage.k8s.io": {"spec": {"drivers": [{"name": "csi.example.com", "nodeID": "n1"}]}},
    "csistoragecapacities.storage.k8s.io": {"storageClassName": "fast", "capacity": "10Gi"},
    "ingresses.networking.k8s.io": {"spec": {"defaultBackend": BACKEND}},
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "example.com/ingress"}},
    "networkpolicies.networking.k8s.io": {"spec": {"podSelector": {}}},
    "roles.rbac.authorization.k8s.io": {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
    "rolebindings.rbac.authorization.k8s.io": {
        "roleRef": ROLE_REF,
        "subjects": [{"kind": "User", "name": "alice"}],
    },
    "clusterroles.rbac.authorization.k8s.io": {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": ROLE_REF},
    "certificatesigningrequests.certificates.k8s.io": {
        "spec": {
            "request": signing_request(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        }
    },
    "runtimeclasses.node.k8s.io": {"handler": "runsc"},
}
