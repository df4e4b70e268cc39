// A shop that verifies signed tokens (RFC 9068) with the published keys, and asks nobody.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

var (
	wxsession = os.Getenv("WXSESSION")
	client    = oidc.ClientContext(context.Background(), &http.Client{Timeout: 5 * time.Second})
	keys      = oidc.NewRemoteKeySet(client, wxsession+"/.well-known/jwks.json")
	verifier  = oidc.NewVerifier(wxsession, keys, &oidc.Config{
		ClientID:             wxsession, // the audience
		SupportedSigningAlgs: []string{oidc.ES256},
	})
)

// go-oidc does not look at the type.
func isAccessToken(token string) bool {
	var header struct{ Typ string }
	encoded, _, _ := strings.Cut(token, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && json.Unmarshal(decoded, &header) == nil && header.Typ == "at+jwt"
}

func prices(w http.ResponseWriter, r *http.Request) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	verified, err := verifier.Verify(r.Context(), token)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // go-oidc has no type for it
		log.Print(err)
		w.Header().Set("Retry-After", "1")
		// Never a 401: the client would log in, and that would not help.
		http.Error(w, "Try again in a moment.", http.StatusServiceUnavailable)
		return
	}
	if err != nil || !isAccessToken(token) {
		log.Print(err)
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "Log in first.", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"prices_for": verified.Subject})
}

func main() {
	http.HandleFunc("/prices", prices)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
