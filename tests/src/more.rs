//! The image with more programs than a minimal host has: for what agents run, and for what attackers run.

use tether_testhost::Suite;

/// Debian packages beside those of every test host. What bookworm has in the packages that every host has, trixie has in
/// others.
pub fn packages(suite: Suite) -> String {
    match suite {
        Suite::Bookworm => PACKAGES.to_owned(),
        Suite::Trixie => format!("{PACKAGES},e2fsprogs,util-linux-extra"),
    }
}

const PACKAGES: &str = "acl,bc,bind9-dnsutils,bsdextrautils,busybox,bzip2,cpio,curl,dc,debsums,dialog,ed,entr,\
    ethtool,file,gawk,gdb,iputils-ping,jq,kmod,less,libcap2-bin,lsof,lua5.4,m4,make,mksh,moreutils,nano,\
    ncdu,net-tools,patch,pciutils,psmisc,pv,rlwrap,rsync,screen,socat,sqlite3,sysstat,tcpdump,tcsh,time,tnftp,unzip,\
    vim-tiny,wget,whiptail,xxd,xz-utils,zip,zsh";
