package main

import (
	"crypto/x509"

	"github.com/google/go-tdx-guest/pcs"
)

type pckQuestion struct {
	Certificate []byte `json:"certificate"`
}

// pckAnswer is what they read in a PCK certificate; texts are hexadecimal.
type pckAnswer struct {
	Ppid       string `json:"ppid"`
	PceID      string `json:"pce_id"`
	Fmspc      string `json:"fmspc"`
	PceSvn     uint16 `json:"pce_svn"`
	CPUSvn     []byte `json:"cpu_svn"`
	Components []byte `json:"components"`
}

func readPck(asked *pckQuestion) answer {
	certificate, err := x509.ParseCertificate(asked.Certificate)
	if err != nil {
		return refused("parse", err)
	}
	found, err := pcs.PckCertificateExtensions(certificate)
	if err != nil {
		return refused("parse", err)
	}
	return answer{Pck: &pckAnswer{
		Ppid:       found.PPID,
		PceID:      found.PCEID,
		Fmspc:      found.FMSPC,
		PceSvn:     found.TCB.PCESvn,
		CPUSvn:     found.TCB.CPUSvn,
		Components: found.TCB.CPUSvnComponents,
	}}
}
