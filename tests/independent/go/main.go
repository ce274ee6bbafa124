// Judges evidence by verifiers that others wrote: go-sev-guest for SEV-SNP reports, go-tdx-guest's parser for PCK
// certificates. One question a line on standard input, one answer a line on standard output, both JSON.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
)

const longestLine = 1 << 20

type question struct {
	Report *reportQuestion `json:"report"`
	Pck    *pckQuestion    `json:"pck"`
}

type answer struct {
	// Refused is empty where the evidence is accepted.
	Refused string `json:"refused"`
	// Stage is the step that refused: parse, verify or validate.
	Stage string `json:"stage"`
	// Asked holds the URLs that a revocation list was wanted from.
	Asked []string `json:"asked"`
	// Pck holds what a PCK certificate says.
	Pck *pckAnswer `json:"pck"`
}

func refused(stage string, err error) answer {
	return answer{Refused: err.Error(), Stage: stage}
}

func judge(line []byte) answer {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return refused("question", err)
	}
	switch {
	case asked.Report != nil:
		return judgeReport(asked.Report)
	case asked.Pck != nil:
		return readPck(asked.Pck)
	}
	return refused("question", errors.New("neither report nor pck"))
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := answers.Encode(judge(lines.Bytes())); err != nil {
			os.Exit(1)
		}
	}
	if lines.Err() != nil {
		os.Exit(1)
	}
}
