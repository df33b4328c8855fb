mod capture;
mod doubles;
mod gnu_tar;
mod malicious;
mod restore;
mod trees;
mod verify;
