// A shop that asks wxsession whose session a token is (RFC 7662), with nothing but the standard library.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Session is what wxsession says of a token. Of one that is not valid it says only that.
type Session struct {
	Active bool   `json:"active"`
	User   string `json:"sub"`
	ID     string `json:"sid"`
	Appid  string `json:"appid"`
	Openid string `json:"openid"`
}

var (
	wxsession = os.Getenv("WXSESSION")
	client    = &http.Client{Timeout: 5 * time.Second}
)

func introspect(ctx context.Context, token string) (session Session, err error) {
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, wxsession+"/introspect", form)
	if err != nil {
		return session, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(os.Getenv("API_KEY_NAME"), os.Getenv("API_KEY"))
	response, err := client.Do(request)
	if err != nil {
		return session, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return session, fmt.Errorf("wxsession answers %s", response.Status)
	}
	return session, json.NewDecoder(response.Body).Decode(&session)
}

func sessionRequired(handle func(http.ResponseWriter, *http.Request, Session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		var session Session
		if token != "" && strings.EqualFold(scheme, "Bearer") {
			var err error
			if session, err = introspect(r.Context(), token); err != nil {
				log.Print(err)
				w.Header().Set("Retry-After", "1")
				// Never a 401: the client would log in, and that would not help.
				http.Error(w, "Try again in a moment.", http.StatusServiceUnavailable)
				return
			}
		}
		if !session.Active {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "Log in first.", http.StatusUnauthorized)
			return
		}
		handle(w, r, session)
	}
}

func orders(w http.ResponseWriter, _ *http.Request, session Session) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"orders_of": session.User})
}

func main() {
	http.HandleFunc("/orders", sessionRequired(orders))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
