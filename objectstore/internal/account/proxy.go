package account

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// Proxy returns the proxy for each request, for http.Transport; nil for none.
func (s *Settings) Proxy() func(*http.Request) (*url.URL, error) {
	switch proxy := s.ProxyURL.Reveal(); proxy {
	case "":
		return http.ProxyFromEnvironment
	case "none":
		return nil
	default:
		u, _ := url.Parse(proxy) // Validate has taken it
		return http.ProxyURL(u)
	}
}

// ProxySecrets are the password of proxyUrl, in the forms in which it is sent.
func (s *Settings) ProxySecrets() []string {
	text := s.ProxyURL.Reveal()
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return []string{text}
	}
	password, _ := u.User.Password()
	_, encoded, _ := strings.Cut(u.User.String(), ":")
	return []string{text, password, encoded, base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))}
}
