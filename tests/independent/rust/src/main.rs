//! Judges SEV-SNP reports by virtee's `sev` crate, on which snpguest stands. One question a line on standard input, one
//! answer a line on standard output, both JSON; bytes are in hexadecimal.

use std::error::Error;
use std::io::{stdin, stdout, BufRead, Write};

use serde_json::{json, Value};
use sev::certs::snp::{ca, Certificate, Chain, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::firmware::host::TcbVersion;
use sev::parser::ByteParser;

type Refusal = Box<dyn Error>;

fn bytes(question: &Value, name: &str) -> Result<Vec<u8>, Refusal> {
    let text = question[name]
        .as_str()
        .ok_or_else(|| format!("no {name}"))?;
    Ok(hex::decode(text)?)
}

fn certificate(question: &Value, name: &str) -> Result<Certificate, Refusal> {
    Ok(Certificate::from_der(&bytes(question, name)?)?)
}

fn tcb(version: &TcbVersion) -> Value {
    json!({
        "fmc": version.fmc,
        "boot_loader": version.bootloader,
        "tee": version.tee,
        "snp": version.snp,
        "microcode": version.microcode,
    })
}

/// What they read in the report, once chain and report have verified.
fn judge(line: &str) -> Result<Value, Refusal> {
    let question: Value = serde_json::from_str(line)?;
    if question["certificate"].is_string() {
        certificate(&question, "certificate")?;
        return Ok(json!({ "refused": "" }));
    }
    let chain = Chain {
        ca: ca::Chain {
            ark: certificate(&question, "ark")?,
            ask: certificate(&question, "ask")?,
        },
        vek: certificate(&question, "key")?,
    };
    let raw = bytes(&question, "report")?;
    let report = AttestationReport::from_bytes(&raw)?;
    (&chain, &report).verify()?;
    Ok(json!({
        "refused": "",
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": report.policy.0,
        "vmpl": report.vmpl,
        "measurement": hex::encode(report.measurement),
        "report_data": hex::encode(report.report_data),
        "host_data": hex::encode(report.host_data),
        "chip_id": hex::encode(report.chip_id),
        "reported_tcb": tcb(&report.reported_tcb),
        "committed_tcb": tcb(&report.committed_tcb),
        "launch_tcb": tcb(&report.launch_tcb),
        "current_tcb": tcb(&report.current_tcb),
        "launch_mitigations": report.launch_mit_vector,
        "current_mitigations": report.current_mit_vector,
    }))
}

fn main() -> Result<(), Refusal> {
    let mut answers = stdout().lock();
    for line in stdin().lock().lines() {
        let answer =
            judge(&line?).unwrap_or_else(|refusal| json!({ "refused": refusal.to_string() }));
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}
