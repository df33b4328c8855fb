mod capture;
mod doubles;
mod drill;
mod gnu_tar;
mod malicious;
mod restore;
mod trees;
mod verify;
