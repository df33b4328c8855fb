use serde_json::{Value, json};

use super::{clean, left_out, reprovision};

fn cleaned(mut object: Value) -> Value {
    clean(&mut object);
    object
}

#[test]
fn what_every_object_is_given_goes_and_the_rest_stays() {
    let object = json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {
            "name": "w", "namespace": "a", "generateName": "w-", "uid": "1", "resourceVersion": "2", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [], "selfLink": "/x",
            "ownerReferences": [{"uid": "4"}], "labels": {"app": "w"}, "annotations": {"note": "n"},
            "finalizers": ["foregroundDeletion", "example.com/keep"],
        },
        "spec": {"size": 3},
        "status": {"ready": true},
    });
    let expected = json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {
            "name": "w", "namespace": "a", "labels": {"app": "w"}, "annotations": {"note": "n"},
            "finalizers": ["example.com/keep"],
        },
        "spec": {"size": 3},
    });
    assert_eq!(cleaned(object), expected);
    assert_eq!(cleaned(expected.clone()), expected, "cleaning twice is cleaning once");
}

#[test]
fn a_service_keeps_the_ports_that_a_person_chose() {
    let ports = json!([
        {"port": 80, "protocol": "TCP", "nodePort": 30080},
        {"port": 80, "protocol": "UDP", "nodePort": 31000},
        {"port": 443, "protocol": "TCP", "nodePort": 31001},
    ]);
    let managed = json!([{"fieldsV1": {"f:spec": {"f:ports": {
        "k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:nodePort": {}, "f:port": {}},
        "k:{\"port\":443,\"protocol\":\"TCP\"}": {"f:port": {}},
    }}}}]);
    let service = |metadata: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": ports,
            "healthCheckNodePort": 32000,
        }})
    };
    let owned = cleaned(service(json!({"name": "s", "managedFields": managed})));
    let expected = json!({"type": "NodePort", "ports": [
        {"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 80, "protocol": "UDP"}, {"port": 443, "protocol": "TCP"},
    ]});
    assert_eq!(owned["spec"], expected);
    let applied = json!({"kubectl.kubernetes.io/last-applied-configuration":
        "{\"spec\":{\"ports\":[{\"port\":443,\"nodePort\":31001}],\"healthCheckNodePort\":32000}}"});
    let applied = cleaned(service(json!({"name": "s", "annotations": applied})));
    assert_eq!(applied["spec"]["ports"][2]["nodePort"], 31001);
    assert_eq!(applied["spec"]["healthCheckNodePort"], 32000);
    assert!(applied["spec"]["ports"][0].get("nodePort").is_none());
}

#[test]
fn a_headless_service_stays_headless() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
    assert_eq!(cleaned(service.clone()), service);
}

#[test]
fn claims_and_volumes_find_each_other_again() {
    let claim = cleaned(
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "annotations": {
        "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
        "volume.kubernetes.io/selected-node": "n", "volume.kubernetes.io/storage-provisioner": "p",
    }}, "spec": {"volumeName": "v"}}),
    );
    assert_eq!(claim["metadata"], json!({"name": "c"}));
    assert_eq!(claim["spec"]["volumeName"], "v");
    let mut anew = claim;
    reprovision(&mut anew);
    assert_eq!(anew["spec"], json!({}));
    let volume = cleaned(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
        "spec": {"claimRef": {"name": "c", "namespace": "a", "uid": "u", "resourceVersion": "1"}}}));
    assert_eq!(volume["spec"]["claimRef"], json!({"name": "c", "namespace": "a"}));
}

#[test]
fn a_pod_loses_its_node_and_its_token() {
    let pod = cleaned(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "nodeName": "n", "priority": 0, "preemptionPolicy": "x", "serviceAccount": "s", "serviceAccountName": "s",
        "containers": [{"name": "c", "volumeMounts": [{"name": "kube-api-access-x"}, {"name": "data"}]},
            {"name": "d", "volumeMounts": [{"name": "kube-api-access-x"}]}],
        "volumes": [{"name": "kube-api-access-x", "projected": {}}, {"name": "data", "emptyDir": {}}],
    }}));
    let expected = json!({"serviceAccountName": "s",
        "containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}, {"name": "d"}],
        "volumes": [{"name": "data", "emptyDir": {}}]});
    assert_eq!(pod["spec"], expected);
}

#[test]
fn a_job_selects_by_a_new_uid_unless_a_person_chose_the_selector() {
    let job = |manual: bool| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "labels": {"controller-uid": "u", "a": "b"}},
            "spec": {"manualSelector": manual, "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
                "template": {"metadata": {"labels": {"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u",
                    "job-name": "j", "batch.kubernetes.io/job-name": "j", "app": "x"}}}}})
    };
    let anew = cleaned(job(false));
    assert_eq!(
        anew["spec"],
        json!({"manualSelector": false, "template": {"metadata": {"labels": {"app": "x"}}}})
    );
    assert_eq!(anew["metadata"]["labels"], json!({"a": "b"}));
    assert!(cleaned(job(true))["spec"].get("selector").is_some());
}

#[test]
fn tokens_that_the_cluster_made_go_and_those_that_a_person_asked_for_are_filled_anew() {
    let secret = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": "app",
                "kubernetes.io/service-account.uid": "u"}},
            "data": {"token": "eA==", "ca.crt": "eA==", "namespace": "eA=="}})
    };
    assert_eq!(left_out(&secret("app-token-x9k2p")).as_deref(), Some("a token of the old cluster"));
    let asked = secret("for-ci");
    assert_eq!(left_out(&asked), None);
    let asked = cleaned(asked);
    assert!(asked.get("data").is_none());
    assert_eq!(asked["metadata"]["annotations"], json!({"kubernetes.io/service-account.name": "app"}));
    let account = cleaned(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"},
        "secrets": [{"name": "app-token-x9k2p"}], "imagePullSecrets": [{"name": "registry"}]}));
    assert!(account.get("secrets").is_none());
    assert_eq!(account["imagePullSecrets"], json!([{"name": "registry"}]));
}

#[test]
fn what_controllers_make_is_left_out_and_what_people_own_is_not() {
    let owner = json!([{"kind": "X", "name": "x", "uid": "u", "controller": true}]);
    let object = |version: &str, kind: &str, metadata: Value| json!({"apiVersion": version, "kind": kind, "metadata": metadata});
    let owned = json!({"name": "o", "ownerReferences": owner});
    for (version, kind) in
        [("v1", "Pod"), ("apps/v1", "ReplicaSet"), ("apps/v1", "ControllerRevision"), ("batch/v1", "Job")]
    {
        assert!(left_out(&object(version, kind, owned.clone())).is_some(), "{kind}");
        assert!(left_out(&object(version, kind, json!({"name": "o"}))).is_none(), "{kind}");
    }
    for (version, kind) in
        [("v1", "Secret"), ("v1", "PersistentVolumeClaim"), ("example.com/v1", "Widget"), ("v1", "ConfigMap")]
    {
        assert_eq!(left_out(&object(version, kind, owned.clone())), None, "{kind}");
    }
    let made = [
        object("v1", "ConfigMap", json!({"name": "kube-root-ca.crt"})),
        object("v1", "Event", json!({"name": "e"})),
        object("events.k8s.io/v1", "Event", json!({"name": "e"})),
        object("v1", "Service", json!({"name": "kubernetes", "namespace": "default"})),
        object("v1", "Endpoints", json!({"name": "kubernetes", "namespace": "default"})),
        object(
            "v1",
            "Endpoints",
            json!({"name": "e", "labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}}),
        ),
        object("coordination.k8s.io/v1", "Lease", json!({"name": "l"})),
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"name": "s", "labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}),
        ),
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}}),
        ),
        object("v1", "Secret", json!({"name": "s", "deletionTimestamp": "2026-01-01T00:00:00Z"})),
        object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            json!({"name": "view", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}),
        ),
        object("scheduling.k8s.io/v1", "PriorityClass", json!({"name": "system-node-critical"})),
    ];
    for object in made {
        assert!(left_out(&object).is_some(), "{object}");
    }
    let kept = [
        object("v1", "Endpoints", json!({"name": "by-hand"})),
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"name": "by-hand", "labels": {"kubernetes.io/service-name": "x"}}),
        ),
        object("v1", "Service", json!({"name": "kubernetes", "namespace": "other"})),
    ];
    for object in kept {
        assert_eq!(left_out(&object), None, "{object}");
    }
}

#[test]
fn what_has_ended_is_left_out() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Succeeded"}});
    assert_eq!(left_out(&pod).as_deref(), Some("it has ended"));
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}});
    assert_eq!(left_out(&job).as_deref(), Some("it has ended"));
}

#[test]
fn a_provisioned_volume_that_goes_with_its_claim_is_left_out() {
    let volume = |policy: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "v", "annotations": {"pv.kubernetes.io/provisioned-by": "csi"}},
            "spec": {"persistentVolumeReclaimPolicy": policy}})
    };
    assert!(left_out(&volume("Delete")).is_some());
    assert!(left_out(&volume("Retain")).is_none());
}
