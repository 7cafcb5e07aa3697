"""Lints files with pkilint in one process: lint.py KIND=FILE…, KIND one of cert, crl, ocsp.

Prints every finding from NOTICE up behind the name of its file, or `nothing`. Exit status 1 if there is any finding.
"""

import contextlib
import io
import json
import sys

from pkilint.bin import lint_crl, lint_ocsp_response, lint_pkix_cert

LINTERS = {
    "cert": (lint_pkix_cert, []),
    "crl": (lint_crl, ["-t", "CRL", "-p", "PKIX"]),
    "ocsp": (lint_ocsp_response, []),
}


def findings(kind, path):
    linter, options = LINTERS[kind]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        linter.main(["lint", *options, "-s", "NOTICE", "-f", "JSON", path])
    if not out.getvalue():
        return [err.getvalue().strip() or "no answer"]
    found = []
    for result in json.loads(out.getvalue())["results"]:
        for finding in result["finding_descriptions"]:
            if not is_mistaken(finding):
                found.append(f"{finding['severity']} {finding['code']} {finding.get('message')} @ {result['node_path']}")
    return found


# What pkilint refuses and RFC 5280 §4.2.1.6 does not: it knows the schemes of the web only, but a URN is a URI
# (RFC 3986 §1.1.3); it wants a dot in every DNS name, but one label is in the preferred name syntax (RFC 1034 §3.5).
MISTAKEN = {
    "pkix.invalid_uri_syntax": 'Invalid URI syntax: "urn:portcullis:',
    "pkix.invalid_domain_name_syntax": 'Invalid domain name syntax: "localhost"',
}


def is_mistaken(finding):
    words = MISTAKEN.get(finding["code"])
    return words is not None and (finding.get("message") or "").startswith(words)


any_found = False
for argument in sys.argv[1:]:
    kind, path = argument.split("=", 1)
    found = findings(kind, path)
    any_found = any_found or bool(found)
    print(f"{argument}: {'; '.join(found) or 'nothing'}")
sys.exit(any_found)
