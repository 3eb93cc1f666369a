package account

import (
	"encoding/base64"
	"errors"
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
		u, err := proxyAddress(proxy)
		return func(*http.Request) (*url.URL, error) { return u, err }
	}
}

// proxyAddress parses the address of a proxy. The error does not repeat it.
func proxyAddress(proxy string) (*url.URL, error) {
	u, err := url.Parse(proxy)
	if err != nil {
		return nil, errors.New("proxyUrl is no URL")
	}
	return u, nil
}

// ProxySecrets are the password of proxyUrl, in the forms in which it is sent.
func (s *Settings) ProxySecrets() []string {
	text := s.ProxyURL.Reveal()
	u, err := proxyAddress(text)
	if err != nil || u.User == nil {
		return []string{text}
	}
	password, _ := u.User.Password()
	_, encoded, _ := strings.Cut(u.User.String(), ":")
	return []string{text, password, encoded, base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))}
}
