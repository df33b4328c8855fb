use serde_json::{Value, json};

use super::*;

#[test]
fn an_object_says_what_it_is_on_one_line() {
    let kind = ResourceKind::new("apps", "v1", "Deployment", "deployments", true);
    let given = |text: &str| whole(&kind, Bytes::copy_from_slice(text.as_bytes())).unwrap();
    let expected = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a b"}});
    let parsed = |bytes: Bytes| serde_json::from_slice::<Value>(&bytes).unwrap();
    assert_eq!(parsed(given(r#"{"metadata":{"name":"a b"}}"#)), expected);
    assert_eq!(parsed(given(r#"{"kind":"Deployment","metadata":{"name":"a b"}}"#)), expected);
    let pretty = given("{\n  \"metadata\": {\r\n \"name\": \"a b\"\n}\n}");
    assert!(!pretty.contains(&b'\n') && !pretty.contains(&b'\r'));
    assert_eq!(parsed(pretty), expected);
    let own = r#"{"apiVersion":"x/v2","kind":"Y","metadata":{}}"#;
    assert_eq!(given(own), own);
    assert!(whole(&kind, Bytes::from_static(b"{\"a\":}")).is_err());
}
