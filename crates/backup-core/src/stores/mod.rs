//! Stores that need no cloud: a folder of a file system, and memory.

mod local;
mod local_factory;
mod memory;

pub use local::LocalStore;
pub use local_factory::LocalStoreFactory;
pub use memory::MemoryStore;
