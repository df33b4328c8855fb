//! Exports from a real API server. Pods are not needed: it is the objects that count.

mod access;
mod faults;
mod lab;
mod whole;
