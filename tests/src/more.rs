//! The image with more programs than a minimal host has: for what agents run, and for what attackers run.

/// Debian packages beside those of every test host, in both suites.
pub const PACKAGES: &str = "acl,bc,bind9-dnsutils,bsdextrautils,busybox,bzip2,cpio,curl,dc,debsums,dialog,ed,entr,\
    ethtool,file,gawk,gdb,iputils-ping,jq,kmod,less,libcap2-bin,lsof,lua5.4,m4,make,mksh,moreutils,nano,\
    ncdu,net-tools,patch,pciutils,psmisc,pv,rlwrap,rsync,screen,socat,sqlite3,sysstat,tcpdump,tcsh,time,tnftp,unzip,\
    vim-tiny,wget,whiptail,xxd,xz-utils,zip,zsh";
