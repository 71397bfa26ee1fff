package tree

import "reflect"

// Clone copies settings so that the copy shares no list, map or pointer with v.
// What is not a setting (functions, channels, interfaces, unexported fields) is
// shared.
func Clone[T any](v T) T {
	out := clone(reflect.ValueOf(&v).Elem())
	t, _ := out.Interface().(T)
	return t
}

func clone(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || !settable(v.Type(), 0) {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(clone(v.Elem()))
		return p
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		cloneFields(out, v)
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(clone(v.Index(i)))
		}
		return out
	case reflect.Array:
		out := reflect.New(v.Type()).Elem()
		for i := range v.Len() {
			out.Index(i).Set(clone(v.Index(i)))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			out.SetMapIndex(it.Key(), clone(it.Value()))
		}
		return out
	}
	return v
}

// cloneFields goes into unexported embedded structs, whose fields are settings.
func cloneFields(out, v reflect.Value) {
	for i := range v.NumField() {
		f := out.Field(i)
		switch {
		case f.CanSet():
			f.Set(clone(v.Field(i)))
		case v.Type().Field(i).Anonymous && f.Kind() == reflect.Struct:
			cloneFields(f, v.Field(i))
		}
	}
}
