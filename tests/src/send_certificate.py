"""Offers a certificate to sshd as it is. OpenSSH's own client looks at a certificate before it offers it, and
keeps back a host's, one whose signature is broken and one that is too long: an attacker's client does not.

usage: send_certificate.py ADDRESS USER PRIVATE-KEY CERTIFICATE    prints "in" or what was refused
"""
import socket
import sys

import paramiko

address, user, key_file, certificate_file = sys.argv[1:]
key = paramiko.Ed25519Key.from_private_key_file(key_file)
key.load_certificate(certificate_file)
transport = paramiko.Transport(socket.create_connection((address, 22), timeout=20))
transport.start_client(timeout=20)
try:
    transport.auth_publickey(user, key)
    print("in" if transport.is_authenticated() else "not in")
except Exception as error:
    print("refused:", type(error).__name__, error)
finally:
    transport.close()
