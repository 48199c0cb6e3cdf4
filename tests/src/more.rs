//! The image with more programs than a minimal host has: for what agents run, and for what attackers run.

/// Debian packages beside those of every test host, in both suites.
pub const PACKAGES: &str = "acl,bc,bind9-dnsutils,bsdextrautils,busybox,bzip2,cpio,curl,dc,debsums,dialog,ed,entr,\
    ethtool,file,gawk,gdb,iputils-ping,jq,kmod,less,libcap2-bin,lsof,lua5.4,m4,make,mksh,moreutils,nano,\
    ncdu,net-tools,patch,pciutils,psmisc,pv,rlwrap,rsync,screen,socat,sqlite3,sysstat,tcpdump,tcsh,time,tnftp,unzip,\
    vim-tiny,wget,whiptail,xxd,xz-utils,zip,zsh";

/// What more of the programs that GTFOBins has are packages of bookworm, and not too large. Only for the long tests.
pub const GTFOBINS: &str = "acr,apache2-utils,aria2,arj,aspell,autoconf,basez,bat,bsd-mailx,certbot,clisp,cmake,cowsay,\
    cpulimit,csvtool,daemontools,default-mysql-client,dnsmasq-base,dos2unix,easy-rsa,efax,enscript,fail2ban,finger,\
    firejail,fish,fping,fzf,genisoimage,gettext,ginac-tools,git,grc,groff,guile-3.0,highlight,hping3,iftop,iptables,\
    isc-dhcp-client,ispell,joe,kbd,ksh,krb5-user,less,lftp,libimage-exiftool-perl,libwww-perl,links,logrotate,\
    ltrace,lynx,mailcap,man-db,mercurial,minicom,monitoring-plugins-basic,mosh,mosquitto,mtr-tiny,mutt,nasm,ncftp,\
    needrestart,nftables,nginx-light,nmap,ntpdate,opendoas,openvpn,p7zip-full,pax,pexec,php-cli,pkexec,\
    postgresql-client,posh,procmail,psmisc,putty-tools,python3-pip,python3-pygments,python-is-python3,qpdf,rake,\
    ranger,rc,redis-tools,rpm,rsyslog,ruby,sash,scanmem,screen,sharutils,slsh,smbclient,squashfs-tools,\
    sshfs,sshpass,sshuttle,taskwarrior,tasksh,telnet,tftp,tmate,torsocks,valgrind,vim,w3m,whois,wireguard-tools,\
    xdg-user-dirs,yash,zip";
