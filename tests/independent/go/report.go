package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
)

// reportQuestion is a report, what vouches for it, and what is demanded. Bytes are in base64, as JSON has them.
type reportQuestion struct {
	Report []byte `json:"report"`
	Key    []byte `json:"key"` // VCEK or VLEK
	Ask    []byte `json:"ask"`
	Asvk   []byte `json:"asvk"`
	Ark    []byte `json:"ark"`
	// Product names the root in their table; empty leaves them to AMD's roots, which they have built in.
	Product string `json:"product"`
	Now     int64  `json:"now"`
	// Lists holds what stands at each URL. Revocation is checked where it is not null.
	Lists map[string][]byte `json:"lists"`
	// SignatureAlone leaves it at the report's signature by the key.
	SignatureAlone bool    `json:"signature_alone"`
	Demands        demands `json:"demands"`
}

// demands are validate.Options; what is absent is not demanded.
type demands struct {
	GuestPolicy               uint64   `json:"guest_policy"`
	MinimumGuestSvn           uint32   `json:"minimum_guest_svn"`
	ReportData                []byte   `json:"report_data"`
	HostData                  []byte   `json:"host_data"`
	ImageID                   []byte   `json:"image_id"`
	FamilyID                  []byte   `json:"family_id"`
	ReportID                  []byte   `json:"report_id"`
	ReportIDMA                []byte   `json:"report_id_ma"`
	Measurement               []byte   `json:"measurement"`
	ChipID                    []byte   `json:"chip_id"`
	MinimumBuild              uint8    `json:"minimum_build"`
	MinimumVersion            uint16   `json:"minimum_version"`
	MinimumTCB                uint64   `json:"minimum_tcb"`
	MinimumLaunchTCB          uint64   `json:"minimum_launch_tcb"`
	PermitProvisionalFirmware bool     `json:"permit_provisional_firmware"`
	PlatformInfo              *uint64  `json:"platform_info"`
	RequireAuthorKey          bool     `json:"require_author_key"`
	VMPL                      *int     `json:"vmpl"`
	RequireIDBlock            bool     `json:"require_id_block"`
	AuthorKeys                [][]byte `json:"author_keys"` // certificates
	AuthorKeyHashes           [][]byte `json:"author_key_hashes"`
	IDKeys                    [][]byte `json:"id_keys"` // certificates
	IDKeyHashes               [][]byte `json:"id_key_hashes"`
	LaunchMitigations         uint64   `json:"launch_mitigations"`
	CurrentMitigations        uint64   `json:"current_mitigations"`
}

// lists is a Getter that serves revocation lists, and notes what it was asked for.
type lists struct {
	byURL map[string][]byte
	asked []string
}

func (l *lists) Get(url string) ([]byte, error) {
	l.asked = append(l.asked, url)
	if list, ok := l.byURL[url]; ok {
		return list, nil
	}
	return nil, fmt.Errorf("nothing is served at %s", url)
}

func judgeReport(asked *reportQuestion) answer {
	if asked.SignatureAlone {
		return judgeSignature(asked)
	}
	report, err := abi.ReportToProto(asked.Report)
	if err != nil {
		return refused("parse", err)
	}
	chain := &sevsnp.CertificateChain{VcekCert: asked.Key, VlekCert: asked.Key, AskCert: asked.Ask, ArkCert: asked.Ark}
	evidence := &sevsnp.Attestation{Report: report, CertificateChain: chain}
	roots, err := rootsOf(asked)
	if err != nil {
		return refused("parse", err)
	}
	getter := &lists{byURL: asked.Lists}
	if err := verify.SnpAttestation(evidence, &verify.Options{
		CheckRevocations:    asked.Lists != nil,
		DisableCertFetching: true,
		Getter:              getter,
		Now:                 time.Unix(asked.Now, 0),
		TrustedRoots:        roots,
	}); err != nil {
		return answer{Refused: err.Error(), Stage: "verify", Asked: getter.asked}
	}
	options, err := optionsOf(&asked.Demands)
	if err != nil {
		return refused("question", err)
	}
	if err := validate.SnpAttestation(evidence, options); err != nil {
		return answer{Refused: err.Error(), Stage: "validate", Asked: getter.asked}
	}
	return answer{Asked: getter.asked}
}

// judgeSignature checks a report's signature, for products whose certificates they do not read.
func judgeSignature(asked *reportQuestion) answer {
	key, err := x509.ParseCertificate(asked.Key)
	if err != nil {
		return refused("parse", err)
	}
	if err := verify.SnpReportSignature(asked.Report, key); err != nil {
		return refused("verify", err)
	}
	return answer{}
}

func rootsOf(asked *reportQuestion) (map[string][]*trust.AMDRootCerts, error) {
	if asked.Product == "" {
		return nil, nil
	}
	certs := &trust.ProductCerts{}
	for _, one := range []struct {
		der []byte
		to  **x509.Certificate
	}{{asked.Ask, &certs.Ask}, {asked.Asvk, &certs.Asvk}, {asked.Ark, &certs.Ark}} {
		if len(one.der) == 0 {
			continue
		}
		parsed, err := x509.ParseCertificate(one.der)
		if err != nil {
			return nil, err
		}
		*one.to = parsed
	}
	root := trust.AMDRootCertsProduct(asked.Product)
	root.ProductCerts = certs
	return map[string][]*trust.AMDRootCerts{asked.Product: {root}}, nil
}

func optionsOf(wanted *demands) (*validate.Options, error) {
	policy, err := abi.ParseSnpPolicy(wanted.GuestPolicy)
	if err != nil {
		return nil, err
	}
	var platform *abi.SnpPlatformInfo
	if wanted.PlatformInfo != nil {
		parsed, err := abi.ParseSnpPlatformInfo(*wanted.PlatformInfo)
		if err != nil {
			return nil, err
		}
		platform = &parsed
	}
	authors, authorsErr := certificatesOf(wanted.AuthorKeys)
	ids, idsErr := certificatesOf(wanted.IDKeys)
	if err := errors.Join(authorsErr, idsErr); err != nil {
		return nil, err
	}
	return &validate.Options{
		GuestPolicy:                    policy,
		MinimumGuestSvn:                wanted.MinimumGuestSvn,
		ReportData:                     wanted.ReportData,
		HostData:                       wanted.HostData,
		ImageID:                        wanted.ImageID,
		FamilyID:                       wanted.FamilyID,
		ReportID:                       wanted.ReportID,
		ReportIDMA:                     wanted.ReportIDMA,
		Measurement:                    wanted.Measurement,
		ChipID:                         wanted.ChipID,
		MinimumBuild:                   wanted.MinimumBuild,
		MinimumVersion:                 wanted.MinimumVersion,
		MinimumTCB:                     kds.DecomposeTCBVersion(kds.TCBVersion(wanted.MinimumTCB)),
		MinimumLaunchTCB:               kds.DecomposeTCBVersion(kds.TCBVersion(wanted.MinimumLaunchTCB)),
		PermitProvisionalFirmware:      wanted.PermitProvisionalFirmware,
		PlatformInfo:                   platform,
		RequireAuthorKey:               wanted.RequireAuthorKey,
		VMPL:                           wanted.VMPL,
		RequireIDBlock:                 wanted.RequireIDBlock,
		TrustedAuthorKeys:              authors,
		TrustedAuthorKeyHashes:         wanted.AuthorKeyHashes,
		TrustedIDKeys:                  ids,
		TrustedIDKeyHashes:             wanted.IDKeyHashes,
		MinimumLaunchMitigationVector:  wanted.LaunchMitigations,
		MinimumCurrentMitigationVector: wanted.CurrentMitigations,
	}, nil
}

func certificatesOf(ders [][]byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for _, der := range ders {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		found = append(found, parsed)
	}
	return found, nil
}
